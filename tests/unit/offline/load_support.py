"""What the tests of loading share."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from airgap.offline.load import load
from airgap.offline.loader import LoadedImage, Loading
from airgap.progress import Silent
from tests.support.bundles import ONE, make_gap, small_images
from tests.support.images import Image
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile, MemoryStaging

IMAGES = small_images()
OLD = Digest.of(b"an older image")
LAYER = IMAGES[ONE].layers[1]
BASE = IMAGES[ONE].layers[0]
AnyTarget = MemoryContent | MemoryEngine
MAKERS: dict[str, Callable[[], AnyTarget]] = {
    "content": MemoryContent,
    "graph driver": MemoryEngine,
    "containerd store": lambda: MemoryEngine(keeps_index=True),
    "containerd": MemoryStaging,
    "podman": lambda: MemoryEngine(keeps_index=True, config_ids=True, one_platform=True),
}


ALL = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def go(bundle: VerifiedBundle, target: AnyTarget | MemoryFile, **options) -> list[LoadedImage]:
    return load(target, Loading(bundle, Silent(), **options))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [result.verdict for result in results]


@contextlib.contextmanager
def chart_bundle(folder: Path) -> Iterator[VerifiedBundle]:
    """A verified bundle of one chart."""
    config, chart = b"{}", b"a chart"
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor("application/x-chart", Digest.of(config), 2).to_json(),
        "layers": [Descriptor(OCI_LAYER_GZIP, Digest.of(chart), len(chart)).to_json()],
    }
    raw = json.dumps(manifest).encode()
    contents = {Digest.of(each): each for each in (raw, config, chart)}
    image = Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw, contents)
    gap = make_gap(folder, images={ONE: image})
    with Folder(gap.bundle) as found:
        yield verify(found, gap.receiver())
