"""Images that are not loaded, whatever the target would say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify import verify
from airgap.endpoints.server.catalogue import build_catalogue
from airgap.errors import AirgapError, MissingContentError, PolicyError
from airgap.oci.documents import OCI_INDEX
from airgap.oci.platform import Platform
from airgap.offline.bundle_source import BundleSource
from airgap.offline.load import load
from airgap.offline.loader import FAILED, LOADED, LoadedImage, Loading
from airgap.online.plan import make_plan
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, make_gap
from tests.support.images import Image, foreign_image, make_index, simple_image
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile, MemoryStaging
from tests.support.memory_sources import MemorySource, Opener
from tests.unit.online.support import lock_of, manifest_of

WINDOWS, LINUX = foreign_image(), simple_image("linux")
BOTH = make_index([LINUX, WINDOWS])
BASE = WINDOWS.layers[0]


def loaded(gap: Gap, target: object, **options: bool) -> LoadedImage:
    with Folder(gap.bundle) as folder:
        [result] = load(target, Loading(verify(folder, gap.receiver()), Silent(), **options))
        return result


def podman(platform: str = "linux/amd64") -> MemoryEngine:
    return MemoryEngine(
        keeps_index=True, config_ids=True, one_platform=True, platform=Platform.parse(platform)
    )


ENGINES = {
    "graph driver": (MemoryEngine, BOTH, True),
    "containerd store": (lambda: MemoryEngine(keeps_index=True), BOTH, True),
    "containerd": (MemoryStaging, BOTH, True),
    "podman, its own platform": (podman, BOTH, True),
    "podman, the foreign one": (podman, WINDOWS, False),
    "registry or layout": (MemoryContent, BOTH, False),
}


@pytest.mark.parametrize(("make", "image", "takes"), ENGINES.values(), ids=ENGINES)
def test_foreign_layers(tmp_path: Path, make: Callable[[], object], image: Image, takes: bool) -> None:
    gap = make_gap(tmp_path, images={ONE: image})
    found = loaded(gap, make())
    assert found.verdict == (LOADED if takes else FAILED)
    if not takes:
        assert isinstance(found.error, PolicyError)
        assert "--allow-urls" in (found.error.hint or "")
        assert loaded(gap, make(), allow_urls=True).verdict == LOADED


def test_an_archive_is_whole_or_not_at_all(tmp_path: Path) -> None:
    gap, target = make_gap(tmp_path, images={ONE: BOTH}), MemoryFile()
    with pytest.raises(PolicyError, match="foreign layers"):
        loaded(gap, target)
    assert loaded(gap, target, allow_urls=True).error is None


def test_they_are_never_left_out_of_a_delta(tmp_path: Path) -> None:
    source = MemorySource({ONE: BOTH})
    manifest = manifest_of(ONE, head="platforms: all\n")
    plan = make_plan(
        lock_of(manifest, registry=source), Opener({"registry": source}), frozenset(BOTH.contents)
    )
    assert BASE in plan.blobs
    assert LINUX.layers[0] not in plan.blobs
    gap = make_gap(tmp_path, images={ONE: BOTH})
    gap.forge({BASE.path: None}, requires=(Requirement(BASE, len(BOTH.contents[BASE]), ()),))
    with (
        Folder(gap.bundle) as folder,
        pytest.raises(AirgapError, match="a foreign layer is not in the bundle"),
    ):
        verify(folder, gap.receiver())


def test_they_are_not_served(tmp_path: Path) -> None:
    gap = make_gap(tmp_path, images={ONE: BOTH})
    with Folder(gap.bundle) as folder:
        found = build_catalogue([BundleSource(verify(folder, gap.receiver()))])
    repository = next(iter(found.repositories.values()))
    assert WINDOWS.descriptor.digest not in repository.documents
    assert {BOTH.descriptor.digest, LINUX.descriptor.digest} <= repository.documents.keys()
    assert f"{WINDOWS.descriptor.digest} is not served" in found.notes[0]


TARGETS = {"engine": MemoryEngine, "containerd": MemoryStaging, "content": MemoryContent, "file": MemoryFile}


@pytest.mark.parametrize("make", TARGETS.values(), ids=TARGETS)
def test_an_index_of_which_nothing_is_there(tmp_path: Path, make: Callable[[], object]) -> None:
    """As older versions sealed it: verification holds, and loading says what is wrong."""
    gap = make_gap(tmp_path)
    gap.put_image(BOTH.raw, media_type=OCI_INDEX, kind="artifact", platforms=())
    if make is MemoryFile:
        with pytest.raises(MissingContentError, match="none of the platforms of this image"):
            loaded(gap, make())
        return
    found = loaded(gap, make())
    assert found.verdict == FAILED
    assert isinstance(found.error, MissingContentError)
    assert "none of the platforms of this image" in str(found.error)
