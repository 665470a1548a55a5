"""Systems as /proc, /sys, /run and /dev show them, in a folder: for what no machine of ours has plugged in."""

from collections.abc import Mapping
from pathlib import Path

from airgap.bundle.devices import SystemFolders

USB = "pci0000:00/0000:00:14.0/usb2/2-1"
"""Where a stick is plugged in."""


class System:
    """A recorded system; `place` is a real folder that stands for the mount point that a test asks for."""

    def __init__(self, folder: Path) -> None:
        self.roots = SystemFolders(folder / "proc", folder / "sys", folder / "run", folder / "dev")
        self.place = folder / "place"
        self.place.mkdir(parents=True)
        self._lines: list[str] = []

    def device(self, number: str, path: str, files: Mapping[str, str] = {}) -> Path:
        """A block device with its folder below /sys/devices and what is in it."""
        folder = self.roots.sys / "devices" / path
        self.write(folder, {"dev": number, **files})
        self.link(self.roots.sys / "dev/block" / number, folder)
        self.link(self.roots.sys / "class/block" / folder.name, folder)
        self.write(self.roots.dev, {folder.name: ""})
        return folder

    def slave(self, upper: Path, lower: Path) -> None:
        """`upper` (LUKS, LVM, RAID) lies on `lower`."""
        self.link(upper / "slaves" / lower.name, lower)

    def udev(self, number: str, **properties: str) -> None:
        lines = "".join(f"E:{key}={value}\n" for key, value in properties.items())
        self.write(self.roots.run / "udev/data", {f"b{number}": f"S:disk/by-id/x\nI:123\n{lines}G:systemd\n"})

    def mount(
        self, number: str, where: str | Path, kind: str, source: str, options: str = "rw,relatime"
    ) -> None:
        """One more line of mountinfo, on the last mount above it."""
        fields = [line.split(" ") for line in self._lines]
        above = [f[0] for f in fields if f"{where}/".startswith(f[4].rstrip("/") + "/")]
        parent = above[-1] if above else "1"
        place = str(where).replace(" ", "\\040")
        line = f"{20 + len(self._lines)} {parent} {number} / {place} {options} shared:1 - {kind} {source} rw"
        self._lines.append(line)
        self.write(self.roots.proc / "self", {"mountinfo": "\n".join(self._lines) + "\n"})

    @staticmethod
    def write(folder: Path, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="utf-8")

    @staticmethod
    def link(path: Path, to: Path | str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to)


def laptop(folder: Path) -> System:
    """An NVMe disk: /boot/efi, and LUKS with LVM on it for / and /home. Nothing is plugged in."""
    system = System(folder)
    nvme = "pci0000:00/0000:00:1d.0/nvme/nvme0/nvme0n1"
    disk = {"size": "1000215216", "removable": "0", "device/model": "Samsung SSD 980 512GB     "}
    system.device("259:0", nvme, {**disk, "device/serial": "S64DNX0R"})
    system.device("259:1", f"{nvme}/nvme0n1p1", {"partition": "1", "size": "1048576"})
    third = system.device("259:3", f"{nvme}/nvme0n1p3", {"partition": "3", "size": "997113856"})
    luks = system.device("253:0", "virtual/block/dm-0", {"size": "997081088"})
    root = system.device("253:1", "virtual/block/dm-1", {"size": "497081088"})
    home = system.device("253:2", "virtual/block/dm-2", {"size": "500000000"})
    system.slave(luks, third)
    system.slave(root, luks)
    system.slave(home, luks)
    system.link(system.roots.dev / "mapper/vg-root", "../dm-1")
    system.mount("253:1", "/", "ext4", "/dev/mapper/vg-root")
    system.mount("0:22", "/proc", "proc", "proc")
    system.mount("253:2", "/home", "ext4", "/dev/mapper/vg-home")
    system.mount("259:1", "/boot/efi", "vfat", "/dev/nvme0n1p1")
    return system


def plug_in_stick(system: System) -> None:
    """A USB stick with one FAT partition, mounted at the place."""
    usb = {"idVendor": "0781", "manufacturer": "SanDisk", "product": "Ultra", "serial": "4C530001"}
    system.write(system.roots.sys / "devices" / USB, usb)
    disk = f"{USB}/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb"
    inquiry = {"device/vendor": "SanDisk ", "device/model": "Ultra           "}
    system.device("8:16", disk, {"size": "60555264", "removable": "1", "ro": "0", **inquiry})
    system.device("8:17", f"{disk}/sdb1", {"size": "60553216", "partition": "1", "ro": "0"})
    system.link(system.roots.dev / "disk/by-label/MY\\x20STICK", "../../sdb1")
    system.link(system.roots.dev / "disk/by-uuid/1234-ABCD", "../../sdb1")
    system.mount("8:17", system.place, "vfat", "/dev/sdb1")
