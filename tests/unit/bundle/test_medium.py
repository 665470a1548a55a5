import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.audit.redact import redact_fields
from airgap.bundle.contents import ENVELOPE_FILE, SET_ASIDE
from airgap.bundle.devices import SystemFolders
from airgap.bundle.medium import MARGIN, PLACES, SYSTEM_FOLDERS, Medium, refuse_unfit
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.errors import MediaError, NoSpaceError
from tests.support.systems import laptop, plug_in_stick

STICK = Medium(
    Path("/media/stick"),
    source="/dev/sdb1",
    file_system="vfat",
    label="STICK",
    vendor="SanDisk",
    product="Ultra",
    serial="4C530001",
    size=31_004_295_168,
    free=28_400_000_000,
    removable=True,
)


@pytest.fixture
def system(tmp_path):
    return laptop(tmp_path)


class TestOf:
    def test_a_stick(self, system):
        plug_in_stick(system)
        medium = Medium.of(system.place / "not" / "yet", system.roots)
        assert medium == Medium(
            system.place,
            source="/dev/sdb1",
            file_system="vfat",
            label="MY STICK",
            uuid="1234-ABCD",
            vendor="SanDisk",
            product="Ultra",
            serial="4C530001",
            size=60555264 * 512,
            free=medium.free,
            removable=True,
        )
        space = os.statvfs(system.place)
        assert 0 < medium.free <= space.f_blocks * space.f_frsize
        assert medium.is_direct

    def test_a_stick_that_a_program_presents(self, system):
        plug_in_stick(system)
        system.udev("8:17", ID_FS_TYPE="exfat", ID_FS_LABEL="BIG", ID_FS_UUID="AA-BB")
        system.mount("8:17", system.place, "fuseblk", "/dev/sdb1")
        medium = Medium.of(system.place, system.roots)
        assert (medium.file_system, medium.format, medium.label, medium.uuid) == (
            "fuseblk",
            "exfat",
            "BIG",
            "AA-BB",
        )
        assert medium.removable
        assert not medium.is_direct

    def test_the_system_disk(self, system):
        medium = Medium.of(system.place, system.roots)
        assert (medium.mount_point, medium.source) == (Path("/"), "/dev/mapper/vg-root")
        assert (medium.product, medium.serial) == ("Samsung SSD 980 512GB", "S64DNX0R")
        assert medium.system
        assert not medium.removable

    @pytest.mark.parametrize(
        ("number", "kind", "source"),
        [
            ("259:4", "ntfs3", "/dev/nvme0n1p4"),
            ("253:2", "ext4", "/dev/mapper/vg-home"),
            ("0:44", "btrfs", "/dev/nvme0n1p4"),
        ],
        ids=["another partition of the disk", "a bind mount of /home", "btrfs on the disk"],
    )
    def test_on_the_system_disk(self, system, number, kind, source):
        path = "pci0000:00/0000:00:1d.0/nvme/nvme0/nvme0n1/nvme0n1p4"
        system.device("259:4", path, {"partition": "4", "size": "8"})
        system.mount(number, system.place, kind, source)
        medium = Medium.of(system.place, system.roots)
        assert medium.system
        assert medium.serial == "S64DNX0R"

    def test_a_root_on_btrfs(self, tmp_path):
        system = laptop(tmp_path)
        (system.roots.proc / "self/mountinfo").unlink()
        system._lines.clear()
        system.mount("0:30", "/", "btrfs", "/dev/mapper/vg-root")
        system.mount("259:1", system.place, "vfat", "/dev/nvme0n1p1")
        assert Medium.of(system.place, system.roots).system

    @pytest.mark.parametrize(
        ("number", "kind", "source"),
        [
            ("0:44", "tmpfs", "tmpfs"),
            ("0:45", "nfs4", "server:/export"),
            ("0:46", "cifs", "//server/share"),
            ("0:47", "fuse.sshfs", "me@host:"),
            ("0:48", "overlay", "overlay"),
        ],
    )
    def test_nothing_below(self, system, number, kind, source):
        system.mount(number, system.place, kind, source)
        medium = Medium.of(system.place, system.roots)
        assert (medium.file_system, medium.source) == (kind, source)
        assert (medium.vendor, medium.serial, medium.removable, medium.system) == ("", "", False, False)
        assert medium.size > 0
        assert not medium.is_direct

    def test_a_file_as_a_device(self, system):
        system.device("7:0", "virtual/block/loop0", {"size": "2048", "loop/dio": "0"})
        system.mount("7:0", system.place, "ext4", "/dev/loop0")
        medium = Medium.of(system.place, system.roots)
        assert (medium.size, medium.removable, medium.system) == (1 << 20, False, False)
        assert not medium.is_direct

    def test_a_device_behind_encryption(self, system):
        plug_in_stick(system)
        luks = system.device("253:9", "virtual/block/dm-9", {"size": "60000000"})
        system.slave(luks, (system.roots.sys / "dev/block/8:17").resolve())
        system.mount("253:9", system.place, "ext4", "/dev/mapper/luks-1")
        medium = Medium.of(system.place, system.roots)
        assert (medium.vendor, medium.removable, medium.system) == ("SanDisk", True, False)

    @pytest.mark.parametrize("options", ["ro,relatime", "ro"])
    def test_read_only(self, system, options):
        system.mount("0:44", system.place, "iso9660", "/dev/sr0", options)
        assert Medium.of(system.place, system.roots).read_only

    def test_a_write_protected_device(self, system):
        plug_in_stick(system)
        ((system.roots.sys / "dev/block/8:17").resolve() / "ro").write_text("1\n")
        assert Medium.of(system.place, system.roots).read_only

    def test_a_system_that_tells_nothing(self, tmp_path):
        medium = Medium.of(tmp_path / "x", SystemFolders(tmp_path, tmp_path, tmp_path, tmp_path))
        assert tmp_path.is_relative_to(medium.mount_point)
        assert medium.mount_point.is_mount()
        assert replace(medium, size=0, free=0) == Medium(medium.mount_point)
        assert medium.size >= medium.free > 0

    def test_links_are_followed(self, system):
        plug_in_stick(system)
        (system.place.parent / "shortcut").symlink_to(system.place)
        medium = Medium.of(system.place.parent / "shortcut" / "bundle", system.roots)
        assert medium.mount_point == system.place

    def test_links_in_a_circle_do_not_matter_here(self, system):
        plug_in_stick(system)
        (system.place / "a").symlink_to("b")
        (system.place / "b").symlink_to("a")
        assert Medium.of(system.place / "a" / "x", system.roots).mount_point == system.place

    def test_what_cannot_be_asked(self, system):
        with pytest.raises(MediaError, match="cannot read"):
            Medium.of(system.place / ("x" * 300), system.roots)

    def test_this_machine(self, tmp_path):
        medium = Medium.of(tmp_path)
        assert medium.mount_point.is_mount()
        assert medium.file_system
        assert Medium.of(Path("/")).system


class TestTelling:
    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({}, 'SanDisk Ultra (serial 4C530001), vfat "STICK", 31.0 GB, 28.4 GB free at /media/stick'),
            (
                {"vendor": "", "product": "", "label": ""},
                "(serial 4C530001), vfat, 31.0 GB, 28.4 GB free at /media/stick",
            ),
            (
                {"serial": "", "file_system": "fuseblk", "format": "exfat", "read_only": True},
                'SanDisk Ultra, exfat "STICK", 31.0 GB, read-only, 28.4 GB free at /media/stick',
            ),
        ],
    )
    def test_describe(self, changes, line):
        assert replace(STICK, **changes).describe() == line

    def test_describe_what_is_not_known(self):
        assert Medium(Path("/")).describe() == "unknown file system, 0 bytes, 0 bytes free at /"

    def test_describe_the_system_disk(self):
        medium = Medium(Path("/"), file_system="ext4", size=2_000_000_000_000, free=999_999, system=True)
        assert medium.describe() == "ext4, 2.0 TB, 1000.0 kB free at / (system disk)"

    def test_the_record_is_fit_for_the_ledger(self):
        record = STICK.record()
        assert json.loads(json.dumps(redact_fields(record))) == record
        assert record == {
            "mount_point": "/media/stick",
            "source": "/dev/sdb1",
            "file_system": "vfat",
            "label": "STICK",
            "vendor": "SanDisk",
            "product": "Ultra",
            "serial": "4C530001",
            "size": 31_004_295_168,
            "removable": True,
        }

    def test_the_record_of_what_is_not_known(self):
        assert Medium(Path("/a\udcff\x1b")).record() == {"mount_point": "/a?", "removable": False}


class TestRefusals:
    def test_a_medium_with_room_is_accepted(self, tmp_path):
        refuse_unfit(STICK, tmp_path, 1000)

    @pytest.mark.parametrize("name", [ENVELOPE_FILE, SET_ASIDE, VOLUME_FILE])
    def test_a_folder_inside_another_bundle_is_refused(self, tmp_path, name):
        refuse_unfit(STICK, tmp_path / "edge-0001", 1)
        (tmp_path / "edge-0001").mkdir()
        (tmp_path / "edge-0001" / name).touch()
        with pytest.raises(MediaError, match="this folder is itself a bundle") as caught:
            refuse_unfit(STICK, tmp_path / "edge-0001", None, allow_system=True)
        assert str(tmp_path) + ";" in caught.value.hint

    def test_read_only(self, tmp_path):
        with pytest.raises(MediaError, match="read-only: SanDisk Ultra"):
            refuse_unfit(replace(STICK, read_only=True), tmp_path, 1, allow_system=True)

    @pytest.mark.parametrize("place", PLACES)
    def test_nothing_mounted(self, place):
        medium = Medium(Path("/"), free=1 << 40, system=True)
        path = place / "airgap-no-such-stick" / "x"
        with pytest.raises(MediaError, match="no medium is mounted there") as caught:
            refuse_unfit(medium, path, 1)
        assert "--allow-system-disk" in caught.value.hint
        refuse_unfit(medium, path, 1, allow_system=True)

    def test_a_mount_above_the_place_does_not_count(self):
        with pytest.raises(MediaError, match="got a folder on /run"):
            refuse_unfit(Medium(Path("/run"), free=1 << 40), Path("/run/media/me/STICK"), 1)

    @pytest.mark.parametrize("mount_point", ["media", "media/me/STICK"])
    def test_a_medium_that_is_mounted_is_accepted(self, tmp_path, mount_point):
        medium = Medium(tmp_path / mount_point, free=1 << 40)
        refuse_unfit(medium, tmp_path / "media/me/STICK/x", 1, places=[tmp_path / "media"])

    def test_through_a_link(self, tmp_path):
        (tmp_path / "stick").symlink_to(tmp_path / "media/me/STICK")
        with pytest.raises(MediaError, match="no medium is mounted there"):
            refuse_unfit(
                Medium(Path("/"), free=1 << 40), tmp_path / "stick/x", 1, places=[tmp_path / "media"]
            )

    @pytest.mark.parametrize("folder", SYSTEM_FOLDERS)
    def test_the_systems_own_folders(self, folder):
        medium = Medium(folder, free=1 << 40, system=True)
        if folder.resolve() == folder:
            with pytest.raises(MediaError, match="belongs to the system"):
                refuse_unfit(medium, folder, 1)
        refuse_unfit(medium, folder, 1, allow_system=True)

    @pytest.mark.parametrize(
        "path", ["/etc/xx", "/usr/share/xx", "/boot/xx/yy", "/dev/sdz", "/proc/1", "/sys/x"]
    )
    def test_below_the_systems_own_folders(self, path):
        medium = Medium(Path("/"), free=1 << 40, system=True)
        with pytest.raises(MediaError, match="belongs to the system"):
            refuse_unfit(medium, Path(path), 1)
        refuse_unfit(medium, Path(path), 1, allow_system=True)

    def test_a_medium_mounted_below_the_systems_own_folders_is_accepted(self):
        refuse_unfit(Medium(Path("/dev/shm"), file_system="tmpfs", free=1 << 40), Path("/dev/shm/x"), 1)

    @pytest.mark.parametrize("kind", ["devtmpfs", "proc", "sysfs"])
    def test_file_systems_that_keep_nothing_are_refused(self, kind):
        medium = Medium(Path("/data"), file_system=kind, free=1 << 40)
        assert not medium.is_carried
        with pytest.raises(MediaError, match="files cannot be stored there"):
            refuse_unfit(medium, Path("/data/sdz"), 1, allow_system=True)

    @pytest.mark.parametrize(
        "path",
        [
            "/home/me/bundles",
            "/var/tmp",
            "/var/lib/x",
            "/srv/x",
            "/tmp/x",
            "/opt/x",
            "/root/x",
            "/data",
            "/mediathek/x",
        ],
    )
    def test_folders_on_the_system_disk_that_are_not_the_systems_are_accepted(self, path):
        refuse_unfit(Medium(Path("/"), free=1 << 40, system=True), Path(path), 1)

    def test_space(self, tmp_path):
        medium = replace(STICK, free=(101 << 20) + MARGIN)
        refuse_unfit(medium, tmp_path, 100 << 20)
        with pytest.raises(NoSpaceError) as caught:
            refuse_unfit(medium, tmp_path, (100 << 20) + 1)
        want = f"the bundle does not fit: {tmp_path}, want 110,100,481 bytes free, got 110,100,480"
        assert str(caught.value) == want
