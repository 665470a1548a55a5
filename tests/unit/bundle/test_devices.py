import pytest

from airgap.bundle.devices import Device, SystemFolders, clean
from tests.support.systems import USB, System, laptop, plug_in_stick


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


class TestClean:
    @pytest.mark.parametrize(
        ("text", "cleaned"),
        [
            ("  Ultra   Fit ", "Ultra Fit"),
            ("a\x1b[31mred\nline", "a [31mred line"),
            ("\u202egnp.exe", "gnp.exe"),
            ("bad\udcff", "bad?"),
            ("x" * 1000, "x" * 128),
            ("\x00", ""),
        ],
    )
    def test_cleaned(self, text, cleaned):
        assert clean(text) == cleaned


class TestFinding:
    def test_by_number(self, tmp_path):
        assert Device.find(laptop(tmp_path).roots, "253:1").name == "dm-1"

    def test_by_name_where_the_number_is_none(self, tmp_path):
        assert Device.find(laptop(tmp_path).roots, "0:33", "/dev/mapper/vg-root").number == "253:1"

    @pytest.mark.parametrize(
        ("number", "source"),
        [("0:33", "tmpfs"), ("8:99", "/dev/sdz1"), ("../..", "/dev/../../etc"), ("", ""), ("0:1", "/dev/")],
    )
    def test_nothing(self, tmp_path, number, source):
        assert Device.find(laptop(tmp_path).roots, number, source) is None

    def test_no_such_system(self, tmp_path):
        nowhere = SystemFolders(tmp_path, tmp_path, tmp_path, tmp_path)
        assert Device.find(nowhere, "8:1", "/dev/sda1") is None


class TestDisks:
    def names(self, system, number):
        return sorted(disk.name for disk in Device.find(system.roots, number).disks())

    def test_through_partition_and_mapper(self, tmp_path):
        assert self.names(laptop(tmp_path), "253:1") == ["nvme0n1"]

    def test_a_disk_is_its_own(self, tmp_path):
        assert self.names(laptop(tmp_path), "259:0") == ["nvme0n1"]

    def test_raid(self, system):
        raid = system.device("9:0", "virtual/block/md0")
        for number, name in (("8:0", "sda"), ("8:16", "sdb")):
            system.slave(raid, system.device(number, f"pci/{name}"))
        assert self.names(system, "9:0") == ["sda", "sdb"]

    def test_a_circle_ends(self, system):
        one, two = system.device("253:0", "virtual/dm-0"), system.device("253:1", "virtual/dm-1")
        system.slave(one, two)
        system.slave(two, one)
        assert self.names(system, "253:0")


class TestIdentity:
    def test_the_inquiry_and_the_serial_of_usb(self, tmp_path):
        system = laptop(tmp_path)
        plug_in_stick(system)
        assert Device.find(system.roots, "8:16").identity == ("SanDisk", "Ultra", "4C530001")

    def test_what_usb_says_where_there_is_no_inquiry(self, system):
        usb = {"idVendor": "0951", "manufacturer": "Kingston", "product": "DT"}
        system.write(system.roots.sys / "devices" / USB, usb)
        system.device("8:16", f"{USB}/block/sdb")
        assert Device.find(system.roots, "8:16").identity == ("Kingston", "DT", "")

    def test_udev_knows_better(self, system):
        system.device("8:16", "pci/sdb", {"device/vendor": "USB", "device/model": "cut off at 16 by"})
        encoded = r"Data\x20Traveler\x203.0\x1b[0m\xe2\x80\xae"
        system.udev(
            "8:16", ID_VENDOR="Kingston", ID_MODEL="Data_T", ID_MODEL_ENC=encoded, ID_SERIAL_SHORT="E0D5"
        )
        assert Device.find(system.roots, "8:16").identity == ("Kingston", "Data Traveler 3.0 [0m", "E0D5")

    @pytest.mark.parametrize("vendor", ["ATA", "0x1af4", "(null)", "  "])
    def test_vendors_that_say_nothing(self, system, vendor):
        system.device("8:0", "pci/sda", {"device/vendor": vendor, "device/model": "WDC WD10"})
        assert Device.find(system.roots, "8:0").identity == ("", "WDC WD10", "")

    def test_sd_card(self, system):
        card = {"device/type": "SD", "device/name": "SL32G", "device/serial": "0x0b3ac9f1", "removable": "0"}
        system.device("179:0", "platform/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0", card)
        disk = Device.find(system.roots, "179:0")
        assert disk.identity == ("", "SL32G", "0x0b3ac9f1")
        assert disk.is_removable

    def test_labels_as_links(self, tmp_path):
        system = laptop(tmp_path)
        plug_in_stick(system)
        stick = Device.find(system.roots, "8:17")
        assert (stick.label, stick.uuid, stick.format) == ("MY STICK", "1234-ABCD", "")

    def test_hostile_files(self, system):
        folder = system.device("8:0", "pci/sda", {"size": "-1", "stat": "1 2", "partition/x": ""})
        (folder / "device").mkdir()
        (folder / "device/model").write_bytes(b"\xff\xfe\x00\x1b]0;x\x07" * 10_000)
        disk = Device.find(system.roots, "8:0")
        assert disk.size == 0
        assert disk.bytes_read is None
        assert len(disk.identity[1]) <= 128
        assert disk.identity[1].isprintable()


class TestState:
    def test_counts(self, system):
        system.device("8:0", "pci/sda", {"size": "2048", "stat": "  1  2  300  4 5 6 7 8 9 10 11"})
        disk = Device.find(system.roots, "8:0")
        assert (disk.size, disk.bytes_read) == (2048 * 512, 300 * 512)

    @pytest.mark.parametrize(
        ("path", "files", "removable"),
        [
            ("pci/sda", {"removable": "0"}, False),
            ("pci/sr0", {"removable": "1"}, True),
            (f"{USB}/sdb", {"removable": "0"}, True),
            ("mmc/mmcblk0", {"device/type": "MMC"}, False),
        ],
    )
    def test_removable(self, system, path, files, removable):
        system.write(system.roots.sys / "devices" / USB, {"idVendor": "0781"})
        system.device("8:0", path, files)
        assert Device.find(system.roots, "8:0").is_removable is removable

    @pytest.mark.parametrize(
        ("name", "files", "cached"),
        [
            ("sda", {}, False),
            ("loop0", {"loop/dio": "0"}, True),
            ("loop1", {}, True),
            ("loop2", {"loop/dio": "1"}, False),
            ("zram0", {}, True),
            ("ram0", {}, True),
        ],
    )
    def test_cached(self, system, name, files, cached):
        system.device("7:0", f"virtual/block/{name}", files)
        assert Device.find(system.roots, "7:0").is_cached is cached
