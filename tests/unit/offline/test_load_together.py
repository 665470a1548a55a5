"""`--all-or-nothing`: no name moves unless every image is at the target, and names go back if one fails."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.bundle.graph import walk_image
from airgap.endpoints.layout import Layout
from airgap.endpoints.ports import ContentSource
from airgap.errors import EndpointError, UsageError, WithheldError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.loader import FAILED, LOADED, THERE
from tests.support.bundles import MULTI, ONE, TWO
from tests.support.images import simple_image
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile, MemoryFolder, MemoryStaging
from tests.unit.offline.load_support import ALL, IMAGES, OLD, go, verdicts

NAMES = (ONE, TWO, MULTI)
ENGINES = pytest.mark.parametrize(
    "make",
    [MemoryEngine, lambda: MemoryEngine(keeps_index=True), MemoryStaging],
    ids=["graph driver", "containerd store", "containerd"],
)
FAULTS = pytest.mark.parametrize("fault", ["cut", "complain", "broken", "lie", "hollow"])


def own_names(target) -> dict[str, Digest]:
    """The names without those that airgap gives for a time, of which none may be left."""
    assert not [name for name in target.names if ".invalid/" in name]
    return target.names


@ALL
def test_all_are_loaded(bundle, make):
    target = make()
    target.names[TWO] = OLD
    results = go(bundle, target, all_or_nothing=True)
    assert verdicts(results) == [LOADED] * 3
    assert [result.moved for result in results] == [str(r.image.name) == TWO for r in results]
    assert set(own_names(target)) == set(NAMES)
    assert OLD not in target.names.values()
    assert verdicts(go(bundle, target, all_or_nothing=True)) == [THERE] * 3


@ENGINES
@FAULTS
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_no_name_moves_if_the_content_of_one_image_fails(bundle, make, fault, failing):
    target = make()
    target.names[ONE] = OLD
    target.faults = [""] * failing + [fault]
    results = go(bundle, target, all_or_nothing=True, jobs=1)
    assert verdicts(results) == [FAILED] * 3
    assert own_names(target) == {ONE: OLD}
    errors = [type(result.error) for result in results]
    assert errors.count(WithheldError) == 2
    assert [result.after for result in results] == [result.before for result in results]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_no_name_moves_if_a_registry_refuses_one_blob(bundle, refused):
    image = IMAGES[NAMES[refused]]
    own = [d for d in image.contents if all(d not in o.contents for o in IMAGES.values() if o is not image)]
    target = MemoryContent(names={ONE: OLD}, refuse=set(own))
    results = go(bundle, target, all_or_nothing=True)
    assert verdicts(results) == [FAILED] * 3
    assert own_names(target) == {ONE: OLD}
    assert not [what for what in target.log if what.startswith("tag")]


class Stuck(MemoryEngine):
    """An engine that does not name one image."""

    stuck = TWO

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        if str(reference) == self.stuck and image_id != OLD:
            raise EndpointError("stuck")
        super().tag(image_id, reference)


@pytest.mark.parametrize("stuck", NAMES, ids=["first", "second", "third"])
@pytest.mark.parametrize("keeps_index", [False, True])
def test_names_that_moved_already_go_back(bundle, keeps_index, stuck):
    target = Stuck(keeps_index=keeps_index, names={ONE: OLD, MULTI: OLD})
    target.stuck = stuck
    assert verdicts(go(bundle, target, all_or_nothing=True)) == [FAILED] * 3
    assert own_names(target) == {ONE: OLD, MULTI: OLD}


class StuckContent(MemoryContent, ContentSource):
    """An OCI directory that does not name one image, and can be read."""

    def resolve(self, reference: ImageReference) -> Descriptor:
        digest = self.names[str(reference)]
        return Descriptor("application/vnd.oci.image.manifest.v1+json", digest, len(self.contents[digest]))

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        return self.contents[descriptor.digest]

    def open_blob(self, reference, descriptor, offset=0):
        raise AssertionError

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        if str(reference) == MULTI:
            raise EndpointError("stuck")
        super().tag(reference, descriptor, raw)


def test_names_in_a_directory_go_back_to_the_images_that_had_them(bundle):
    old = simple_image("old")
    walk_image(old.descriptor, lambda d: old.contents[d.digest], lambda i: i.manifests, "old")
    target = StuckContent(names={ONE: old.descriptor.digest}, contents=dict(old.contents))
    assert verdicts(go(bundle, target, all_or_nothing=True)) == [FAILED] * 3
    assert own_names(target) == {ONE: old.descriptor.digest}


def test_an_old_image_that_cannot_be_read_stops_the_load_before_a_name_moves(bundle):
    old = simple_image("old")
    broken = dict(old.contents) | {old.descriptor.digest: b"{}"}
    target = StuckContent(names={ONE: old.descriptor.digest}, contents=broken)
    assert verdicts(go(bundle, target, all_or_nothing=True)) == [FAILED] * 3
    assert not [what for what in target.log if what.startswith("tag")]


def test_a_directory_has_all_documents_before_a_name_moves(bundle):
    class Watched(MemoryContent):
        def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
            assert {digest for image in IMAGES.values() for digest in image.contents} <= self.contents.keys()
            super().tag(reference, descriptor, raw)

    assert verdicts(go(bundle, Watched(), all_or_nothing=True)) == [LOADED] * 3


def test_ctrl_c_while_names_move(bundle):
    class Interrupted(MemoryEngine):
        def tag(self, image_id: Digest, reference: ImageReference) -> None:
            super().tag(image_id, reference)
            if str(reference) == TWO:
                raise KeyboardInterrupt

    target = Interrupted(names={ONE: OLD})
    with pytest.raises(KeyboardInterrupt):
        go(bundle, target, all_or_nothing=True)
    assert own_names(target) == {ONE: OLD}


def test_an_image_that_can_never_be_loaded_stops_before_anything_is_sent(bundle):
    class Blind(MemoryEngine):
        def find(self, reference: ImageReference) -> Digest | None:
            if str(reference) == TWO:
                raise EndpointError("blind")
            return super().find(reference)

    target, accepted = Blind(), []
    results = go(bundle, target, all_or_nothing=True, before_names_move=lambda: accepted.append(1))
    assert verdicts(results) == [FAILED] * 3
    assert (target.log, accepted) == ([], [])


def test_a_folder_cannot_and_an_archive_always_does(bundle, tmp_path: Path):
    folder = MemoryFolder(tmp_path)
    with pytest.raises(UsageError, match=r"^--all-or-nothing is not possible at this target: k3s:memory"):
        go(bundle, folder, all_or_nothing=True)
    assert folder.log == []
    assert len(go(bundle, MemoryFile(), all_or_nothing=True)) == 3


def test_all_names_in_an_oci_folder_move_in_one_step(bundle, tmp_path: Path):
    index, seen = tmp_path / "target" / "index.json", []

    class Watched(Layout):
        def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
            super().tag(reference, descriptor, raw)
            seen.append(index.read_bytes() if index.exists() else b"")

    assert verdicts(go(bundle, Watched(tmp_path / "target"), all_or_nothing=True)) == [LOADED] * 3
    assert [b"sha256:" in raw for raw in seen] == [False] * 3
    assert len(json.loads(index.read_bytes())["manifests"]) == 3


def test_an_index_that_cannot_be_written_leaves_all_names(bundle, tmp_path: Path):
    class Full(Layout):
        @contextlib.contextmanager
        def naming(self) -> Iterator[None]:
            with super().naming():
                yield
                raise EndpointError("full")

    target = Full(tmp_path / "target")
    assert verdicts(go(bundle, target, all_or_nothing=True)) == [FAILED] * 3
    assert all(target.find(ImageReference.parse(name)) is None for name in NAMES)
