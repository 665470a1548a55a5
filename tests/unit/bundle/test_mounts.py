from pathlib import Path

import pytest

from airgap.bundle.mounts import mount_of, read_mounts

LINES = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 8:17 / /media/my\040stick\134\011x rw,nosuid shared:9 master:2 - vfat /dev/sdb1 rw,uid=1000
29 27 0:40 / /media/iso ro,nosuid - iso9660 /dev/sr0 ro
30 27 8:33 / /srv/data rw - ext4 /dev/sdc1 rw
31 30 8:34 / /srv/data/deep rw - ext4 /dev/sdc2 rw
32 27 8:49 / /srv rw - xfs /dev/sdd1 rw
33 27 0:50 / /over rw - tmpfs first rw
34 33 0:51 / /over rw - tmpfs second rw
35 27 0:52 / /ext rw - ext4 /dev/sde ro,errors=remount-ro
36 27 0:53 / /root-option rw - fuse.rootfs ro\040tool rw,root
"""


@pytest.fixture
def mounts(tmp_path):
    return _read(tmp_path, LINES.encode())


def _read(folder: Path, raw: bytes):
    (folder / "self").mkdir()
    (folder / "self/mountinfo").write_bytes(raw)
    return read_mounts(folder)


class TestReading:
    def test_a_line(self, mounts):
        stick = mounts[2]
        assert (stick.number, stick.parent, stick.device) == (28, 27, "8:17")
        assert stick.mount_point == Path("/media/my stick\\\tx")
        assert (stick.file_system, stick.source, stick.read_only) == ("vfat", "/dev/sdb1", False)

    def test_no_optional_fields(self, mounts):
        assert mounts[0].file_system == "proc"

    def test_read_only_by_the_mount_or_by_the_file_system(self, mounts):
        assert [str(m.mount_point) for m in mounts if m.read_only] == ["/media/iso", "/ext"]

    def test_a_name_that_is_no_text(self, tmp_path):
        (mount,) = _read(tmp_path, b"1 0 8:1 / /\xff\\777 rw - vfat /dev/sdb1 rw\n")
        assert bytes(mount.mount_point) == b"/\xff\xff"

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"nonsense",
            b"1 0 8:1 / /m rw vfat /dev/x rw",
            b"1 0 8:1 - vfat x rw",
            b"x 0 8:1 / /m rw - vfat x rw",
        ],
    )
    def test_other_lines_are_passed_over(self, tmp_path, line):
        assert _read(tmp_path, line + b"\n") == []

    def test_a_system_without_it(self, tmp_path):
        assert read_mounts(tmp_path) == []


class TestFinding:
    @pytest.mark.parametrize(
        ("path", "number"),
        [
            ("/", 27),
            ("/home/me", 27),
            ("/proc/1", 22),
            ("/process", 27),
            ("/media", 27),
            ("/media/my stick\\\tx/bundle", 28),
            ("/media/my stick", 27),
        ],
    )
    def test_the_nearest(self, mounts, path, number):
        assert mount_of(Path(path), mounts).number == number

    @pytest.mark.parametrize("path", ["/srv", "/srv/data", "/srv/data/deep/x"])
    def test_a_mount_above_hides_those_below(self, mounts, path):
        assert mount_of(Path(path), mounts).number == 32

    def test_the_last_of_two_at_one_place(self, mounts):
        assert mount_of(Path("/over/x"), mounts).source == "second"

    def test_none(self):
        assert mount_of(Path("/x"), []) is None

    def test_a_root_that_is_its_own_parent(self, tmp_path):
        mounts = _read(tmp_path, b"1 1 0:2 / / rw - rootfs rootfs rw\n2 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        assert mount_of(Path("/x"), mounts).file_system == "ext4"

    def test_a_circle_ends(self, tmp_path):
        mounts = _read(tmp_path, b"1 2 8:1 / / rw - a a rw\n2 1 8:2 / / rw - b b rw\n")
        assert mount_of(Path("/x"), mounts) is None

    def test_a_changed_root_without_a_mount_of_its_own(self, tmp_path):
        mounts = _read(tmp_path, b"9 7 8:1 / /a rw - ext4 /dev/sda1 rw\n")
        assert mount_of(Path("/a/b"), mounts).number == 9
        assert mount_of(Path("/b"), mounts) is None
