"""Loading into the folder that k3s reads."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify import VerifiedBundle, verify
from airgap.errors import IncompleteError, MediaError, PolicyError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.load import load
from airgap.offline.loader import FAILED, PLACED, SKIPPED, THERE, ConflictRule, LoadedImage, Loading
from airgap.progress import Silent
from tests.support.bundles import MULTI, ONE, TWO, make_gap, small_images
from tests.support.images import make_index, simple_image
from tests.support.memory import MemoryFolder
from tests.unit.offline.test_load import chart_bundle

IMAGES = small_images()
BASE = IMAGES[ONE].layers[0]


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def target(tmp_path: Path) -> MemoryFolder:
    (tmp_path / "images").mkdir()
    return MemoryFolder(tmp_path / "images")


def go(bundle: VerifiedBundle, target: MemoryFolder, **options) -> list[LoadedImage]:
    return load(target, Loading(bundle, options.pop("progress", Silent()), **options))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [result.verdict for result in results]


def held(target: MemoryFolder, name: str) -> Digest:
    with TarFolder(target.path_of(name)) as files:
        [(found, descriptor)] = read_index(files.read(INDEX_FILE, 10_000)).items()
        assert str(found) == name
        return descriptor.digest


def test_an_archive_an_image_and_a_word_on_what_is_next(bundle, target):
    notes = Notes()
    results = go(bundle, target, progress=notes)
    assert verdicts(results) == [PLACED] * 3
    assert [held(target, name) for name in (ONE, TWO, MULTI)] == [result.after for result in results]
    assert [result.after for result in results] == [image.descriptor.digest for image in IMAGES.values()]
    assert notes.notes == ["restart it"]


def test_what_is_right_is_left_alone(bundle, target):
    go(bundle, target)
    target.log.clear()
    notes = Notes()
    assert verdicts(go(bundle, target, progress=notes)) == [THERE] * 3
    assert (target.log, notes.notes) == ([], [])


def test_archives_are_read_before_they_are_left_alone(bundle, target):
    go(bundle, target)
    raw = bytearray(target.path_of(TWO).read_bytes())
    raw[3000] ^= 1
    target.path_of(TWO).write_bytes(raw)
    target.path_of(MULTI).write_bytes(b"torn")
    target.log.clear()
    results = go(bundle, target)
    assert verdicts(results) == [THERE, PLACED, PLACED]
    assert [result.before for result in results[1:]] == [IMAGES[TWO].descriptor.digest, None]
    assert target.log == [f"put {TWO}", f"put {MULTI}"]
    assert verdicts(go(bundle, target)) == [THERE] * 3


def test_the_archive_of_another_image_under_this_name(bundle, target):
    """As a copy from hand to hand leaves it: it is not what its file says, and gives way."""
    go(bundle, target)
    target.path_of(TWO).write_bytes(target.path_of(ONE).read_bytes())
    results = go(bundle, target)
    assert verdicts(results) == [THERE, PLACED, THERE]
    assert results[1].before is None
    assert verdicts(go(bundle, target)) == [THERE] * 3


def test_another_image_of_that_name_is_replaced_or_refused(bundle, target, tmp_path):
    other = simple_image("other")
    gap = make_gap(tmp_path / "other", images={ONE: other})
    with Folder(gap.bundle) as folder:
        go(verify(folder, gap.receiver()), target)
    with pytest.raises(PolicyError):
        go(bundle, target, on_conflict=ConflictRule.REFUSE)
    assert held(target, ONE) == other.descriptor.digest
    results = go(bundle, target)
    assert (results[0].before, results[0].after) == (other.descriptor.digest, IMAGES[ONE].descriptor.digest)
    assert held(target, ONE) == IMAGES[ONE].descriptor.digest


def test_one_wrong_layer_leaves_the_others(gap, bundle, target):
    gap.flip(IMAGES[ONE].layers[1].path)
    results = go(bundle, target)
    assert verdicts(results) == [FAILED, PLACED, PLACED]
    assert results[0].after is None
    assert not target.path_of(ONE).exists()


def test_a_disk_that_is_full(bundle, target):
    class Full(MemoryFolder):
        def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
            raise MediaError("no space left")

    notes = Notes()
    assert verdicts(go(bundle, Full(target.folder), progress=notes)) == [FAILED] * 3
    assert notes.notes == []


def test_each_archive_stands_alone(gap, target):
    gap.forge(
        {BASE.path: None}, requires=(Requirement(BASE, gap.blob(BASE).stat().st_size, (ONE, TWO, MULTI)),)
    )
    with Folder(gap.bundle) as folder, pytest.raises(IncompleteError, match="the base is not at the target"):
        go(verify(folder, gap.receiver()), target)
    assert target.log == []


def test_a_delta_over_what_is_there(gap, bundle, target):
    """An image that is there whole needs nothing of the delta."""
    go(bundle, target)
    gap.forge(
        {BASE.path: None}, requires=(Requirement(BASE, gap.blob(BASE).stat().st_size, (ONE, TWO, MULTI)),)
    )
    with Folder(gap.bundle) as folder:
        assert verdicts(go(verify(folder, gap.receiver()), target)) == [THERE] * 3


def test_artifacts_are_skipped(tmp_path, target):
    with chart_bundle(tmp_path) as bundle:
        assert verdicts(go(bundle, target)) == [SKIPPED]


PLATFORMS = [simple_image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")]


def sparse(folder: Path, *platforms: str):
    options = f"platforms: [{', '.join(platforms)}]\n"
    return make_gap(folder, images={MULTI: make_index(PLATFORMS)}, options=options)


def test_of_a_sparse_index_the_only_platform_is_taken(tmp_path, target):
    gap, notes = sparse(tmp_path / "gap", "linux/arm64"), Notes()
    with Folder(gap.bundle) as folder:
        bundle = verify(folder, gap.receiver())
        results = go(bundle, target, progress=notes)
        assert verdicts(go(bundle, target)) == [THERE]
    arm64 = PLATFORMS[1].descriptor.digest
    assert (verdicts(results), results[0].after, held(target, MULTI)) == ([PLACED], arm64, arm64)
    assert f"the name refers to its linux/arm64 image, {arm64}" in notes.notes[0]


def test_of_a_sparse_index_of_several_an_index_is_made(tmp_path, target):
    gap = sparse(tmp_path / "gap", "linux/arm64", "linux/amd64")
    with Folder(gap.bundle) as folder:
        bundle = verify(folder, gap.receiver())
        results, again = go(bundle, target), go(bundle, target)
    assert (verdicts(results), verdicts(again)) == ([PLACED], [THERE])
    with TarFolder(target.path_of(MULTI)) as files:
        index = json.loads(files.read(results[0].after.path, 10_000))
    whole = json.loads(make_index(PLATFORMS).raw)
    assert index == {**whole, "manifests": whole["manifests"][:2]}
    assert "an index made by airgap of linux/amd64, linux/arm64" in results[0].reason
    assert again[0].reason == results[0].reason


def test_k0s_takes_it(tmp_path, target):
    target.takes_sparse = True
    gap = sparse(tmp_path / "gap", "linux/arm64", "linux/amd64")
    with Folder(gap.bundle) as folder:
        assert verdicts(go(verify(folder, gap.receiver()), target)) == [PLACED]
    assert held(target, MULTI) == make_index(PLATFORMS).descriptor.digest
