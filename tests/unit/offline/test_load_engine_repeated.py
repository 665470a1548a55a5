"""Layers that an image has more than once, into engines that keep layers on top of those below them."""

import gzip
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.endpoints.ports import StreamTarget
from airgap.oci.digest import Digest
from airgap.oci.documents import EMPTY_LAYER, OCI_LAYER_GZIP
from airgap.offline.load import load
from airgap.offline.loading import LOADED, LoadedImage, Loading
from airgap.offline.verify import verify
from airgap.progress import Silent
from tests.support.bundles import ONE, TWO, make_gap
from tests.support.images import Image, Layer, make_image
from tests.support.memory import MemoryEngine

EMPTY = Layer(gzip.compress(bytes(1024), mtime=0), OCI_LAYER_GZIP, EMPTY_LAYER)
"""What BuildKit writes for an instruction that changes nothing."""
BASE, A, B = (Layer.of({name: name.encode() * 400}) for name in ("base", "a", "b"))


def go(folder: Path, target: StreamTarget, images: dict[str, Image]) -> list[LoadedImage]:
    gap = make_gap(folder, images=images)
    with Folder(gap.bundle) as bundle:
        return load(target, Loading(verify(bundle, gap.receiver()), Silent(), jobs=1))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [result.verdict for result in results]


@pytest.mark.parametrize(
    ("there", "wanted"),
    {
        "an update": ([BASE, EMPTY], [BASE, EMPTY, A, EMPTY]),
        "the base has it twice": ([BASE, EMPTY, EMPTY], [BASE, EMPTY, EMPTY, A, EMPTY]),
        "three times": ([BASE, EMPTY, EMPTY], [BASE, EMPTY, EMPTY, EMPTY]),
        "at another place": ([BASE, A, EMPTY], [BASE, B, EMPTY]),
        "a layer with content": ([BASE, A], [BASE, A, B, A]),
        "first of all": ([EMPTY, BASE], [EMPTY, BASE, EMPTY]),
    }.values(),
)
@pytest.mark.parametrize("zstd_layers", [True, False])
def test_onto_a_base_that_is_there(tmp_path, there, wanted, zstd_layers):
    target = MemoryEngine(zstd_layers=zstd_layers)
    assert verdicts(go(tmp_path / "base", target, {ONE: make_image(there)})) == [LOADED]
    image = make_image(wanted)
    results = go(tmp_path / "app", target, {TWO: image})
    assert (verdicts(results), target.names[TWO]) == ([LOADED], image.config)


def test_two_applications_on_one_base_in_one_bundle(tmp_path):
    target = MemoryEngine()
    images = {ONE: make_image([BASE, EMPTY, A, EMPTY]), TWO: make_image([BASE, EMPTY, B, EMPTY])}
    assert verdicts(go(tmp_path, target, images)) == [LOADED] * 2
    assert target.names == {name: image.config for name, image in images.items()}


def test_what_is_there_at_all_its_places_is_left_out(tmp_path):
    target = MemoryEngine()
    go(tmp_path / "base", target, {ONE: make_image([BASE, EMPTY, EMPTY])})
    go(tmp_path / "app", target, {TWO: make_image([BASE, EMPTY, EMPTY, A])})
    sent = set(target.members[1])
    assert A.diff_id.path in sent, "unpacked on its way"
    assert (
        not {path for layer in (BASE, EMPTY) for path in (Digest.of(layer.blob).path, layer.diff_id.path)}
        & sent
    )
