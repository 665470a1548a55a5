"""`airgap kit verify --into`: what was checked is what is copied, whatever the medium gives later."""

import shutil
from pathlib import Path

import pytest

from airgap.admin.install_root import install_root
from airgap.carry.verify_kit import verify_kit
from airgap.errors import DigestMismatchError, SizeMismatchError
from airgap.site import Site
from tests.support.hostile import endless, hostile, turns
from tests.support.kits import NOW, make_small_kit
from tests.support.mounted import require_fuse
from tests.unit.carry.test_verify_kit import content_of, rich

pytestmark = pytest.mark.e2e


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    made = make_small_kit(folder)
    root = Site(folder / "home").root()
    install_root(folder / "plant", "plant-7", root, root.fingerprint)
    return Path(shutil.copytree(made.path, folder / "kit"))


@pytest.fixture
def site(kit: Path) -> Site:
    return Site(kit.parent / "plant")


@pytest.mark.parametrize("after", [0, 1])
def test_a_medium_that_turns(site: Site, kit: Path, tmp_path: Path, after: int) -> None:
    """Read once, good or not, that is what is copied or refused."""
    require_fuse()
    (tmp_path / "root").mkdir()
    raw, turned = rich(kit).read_bytes(), rich(kit).relative_to(kit).as_posix()
    evil = raw[:-1] + bytes([raw[-1] ^ 1])
    with hostile(tmp_path / "medium", kit, {turned: turns(evil, after)}) as medium:
        if after == 0:
            with pytest.raises(DigestMismatchError, match="wrong digest"):
                verify_kit(medium, site, NOW, into=tmp_path / "root")
            return
        copy = verify_kit(medium, site, NOW, into=tmp_path / "root").copy
        assert (medium / turned).read_bytes() == evil
        assert content_of(copy) == content_of(kit)


def test_a_file_without_end(site: Site, kit: Path, tmp_path: Path) -> None:
    require_fuse()
    (tmp_path / "root").mkdir()
    name = rich(kit).relative_to(kit).as_posix()
    with (
        hostile(tmp_path / "medium", kit, {name: endless()}) as medium,
        pytest.raises(SizeMismatchError, match="wrong size"),
    ):
        verify_kit(medium, site, NOW, into=tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
