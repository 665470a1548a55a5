"""Receipts on real media: FAT, read-only and full ones, and a bundle that is a whole medium."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap
from tests.support.images import noise, simple_image, write_layout
from tests.support.media import Disk, fat_stick, require_media, tmpfs
from tests.support.parts import run

pytestmark = pytest.mark.e2e


def pack(gap: Gap) -> Path:
    write_layout(gap.folder / "layout", {"example.com/api:1": simple_image("api")})
    return gap.pack("version: 1\nname: stack\nimages:\n  - oci: layout\n")


def put_on(disk: Disk, gap: Gap) -> Path:
    run("cp", "-r", pack(gap), disk.mount_point)
    return disk.mount_point / "stack-0001"


def copies_of(gap: Gap, bundle: Path) -> list:
    return gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'out'}").json["receipt_copies"]


def test_a_fat_stick_carries_receipts_home(gap: Gap) -> None:
    require_media()
    with fat_stick(gap.folder / "fat") as stick:
        bundle = put_on(stick, gap)
        copies = [*copies_of(gap, bundle), *copies_of(gap, bundle)]
        assert [copy["error"] for copy in copies] == [None, None]
        receipts = stick.mount_point / "receipts"
        assert sorted(path.name for path in receipts.iterdir()) == sorted(
            Path(copy["path"]).name for copy in copies
        )
        gap.offline("verify", "--media", bundle)


def test_a_read_only_stick_is_loaded_from(gap: Gap) -> None:
    require_media()
    with tmpfs(gap.folder / "memory") as stick:
        bundle = put_on(stick, gap)
        run("mount", "-o", "remount,ro", stick.mount_point)
        [copy] = copies_of(gap, bundle)
        assert copy["error"] == f"cannot write: {stick.mount_point}/receipts, got Read-only file system"


def test_a_full_stick_is_loaded_from(gap: Gap) -> None:
    require_media()
    with tmpfs(gap.folder / "memory", 1 << 20) as stick:
        bundle = put_on(stick, gap)
        with pytest.raises(OSError, match="No space"):
            (stick.mount_point / "films").write_bytes(noise(1 << 20, 1))
        [copy] = copies_of(gap, bundle)
        assert copy["error"] == f"cannot write: {stick.mount_point}/receipts, got No space left on device"
        assert not list((stick.mount_point / "receipts").glob("*"))


def test_a_stick_that_is_one_bundle(gap: Gap) -> None:
    """What is beside its mount point is on the system disk."""
    require_media()
    with tmpfs(gap.folder / "memory") as stick:
        shutil.copytree(pack(gap), stick.mount_point, dirs_exist_ok=True)
        [copy] = copies_of(gap, stick.mount_point)
        assert copy["error"].startswith("the bundle fills its whole medium")
        assert not (stick.mount_point.parent / "receipts").exists()
