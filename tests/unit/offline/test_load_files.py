"""Sparse images, files as targets, and deltas that need a base."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify import VerifiedBundle, verify
from airgap.errors import (
    IncompleteError,
    IntegrityError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import ImageConfig
from airgap.offline.holdings import Holdings
from airgap.offline.loader import LOADED, PLACED, THERE
from tests.support.bundles import MULTI, ONE, TWO, Gap, make_gap
from tests.support.images import make_index, simple_image
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile
from tests.unit.offline.load_support import ALL, BASE, IMAGES, LAYER, OLD, go, verdicts


class TestSparse:
    @pytest.mark.parametrize("make", [MemoryContent, lambda: MemoryEngine(keeps_index=True), MemoryEngine])
    def test_a_sparse_index(self, tmp_path, make):
        images = [simple_image("a"), simple_image("b", platform="linux/arm64")]
        gap = make_gap(tmp_path, images={MULTI: make_index(images)}, options="platforms: [linux/arm64]\n")
        with Folder(gap.bundle) as folder:
            bundle, target = verify(folder, gap.receiver()), make()
            assert verdicts(go(bundle, target)) == [LOADED]
            assert len(bundle.images[0].graph.manifests) == 1
        index, lone = make_index(images).descriptor.digest, images[1]
        keeps_index = isinstance(target, MemoryContent) or target.keeps_index
        assert target.names == {MULTI: index if keeps_index else lone.config}


class TestFile:
    def test_all_images(self, bundle):
        target = MemoryFile()
        moved = []
        assert verdicts(go(bundle, target, before_names_move=lambda: moved.append(1))) == [PLACED] * 3
        assert target.entries[-3:] == ["oci-layout", "index.json", "manifest.json"]
        assert set(target.entries[:-3]) == {d.path for i in IMAGES.values() for d in i.contents}
        assert moved == [1]

    def test_whole_or_not_at_all(self, gap, bundle):
        gap.flip(LAYER.path)
        target = MemoryFile()
        with pytest.raises(IntegrityError):
            go(bundle, target)
        assert target.raw is None


class TestBase:
    """Bundles that leave out a layer."""

    @pytest.fixture
    def delta(self, gap: Gap) -> Iterator[VerifiedBundle]:
        required = Requirement(BASE, gap.blob(BASE).stat().st_size, (ONE, TWO, MULTI))
        gap.forge({BASE.path: None}, requires=(required,))
        with Folder(gap.bundle) as folder:
            yield verify(folder, gap.receiver())

    @ALL
    def test_refused_by_name_before_anything_moves(self, delta, make):
        target, moved = make(), []
        target.names[ONE] = OLD
        with pytest.raises(IncompleteError, match=f"the base is not at the target: .*{BASE}"):
            go(delta, target, before_names_move=lambda: moved.append(1))
        assert (target.log, target.names, moved) == ([], {ONE: OLD}, [])

    def test_a_target_that_has_the_blob(self, delta):
        raw = IMAGES[ONE].contents[BASE]
        target = MemoryContent(contents={BASE: raw})
        assert verdicts(go(delta, target)) == [LOADED] * 3

    def test_an_engine_that_has_the_layer(self, delta):
        config = ImageConfig.parse(IMAGES[ONE].contents[IMAGES[ONE].config])
        target = MemoryEngine(chains={config.diff_ids[0]})
        assert verdicts(go(delta, target)) == [LOADED] * 3
        assert all(BASE.path not in members for members in target.members)

    def test_an_engine_that_has_the_layer_on_another(self, delta):
        """A layer counts only with all those below it."""
        config = ImageConfig.parse(IMAGES[ONE].contents[IMAGES[ONE].config])
        target = MemoryEngine(chains={Digest.of(f"{OLD} {config.diff_ids[0]}".encode())})
        with pytest.raises(IncompleteError):
            go(delta, target)

    def test_an_archive_has_none(self, delta):
        target = MemoryFile()
        with pytest.raises(IncompleteError, match="a delta cannot be loaded into an archive"):
            go(delta, target)
        assert target.raw is None

    def test_a_blob_that_is_left_out_cannot_be_opened(self, delta):
        blob = delta.images[0].graph.blobs[BASE]
        with pytest.raises(IncompleteError, match=f"the bundle leaves this blob out: {BASE}"):
            delta.open_blob(blob)

    def test_an_image_that_airgap_did_not_load_is_a_base_too(self, gap, bundle):
        """Without this, loading the base again says `already there`, and the delta stays refused."""
        target = MemoryEngine(keeps_index=True)
        go(bundle, target)
        forgotten = Holdings(Path())
        assert verdicts(go(bundle, target, holdings=forgotten)) == [THERE] * 3
        held = {(str(image.name), digest) for image in forgotten.images.values() for digest in image.blobs}
        assert (ONE, BASE) in held
        assert len(list(forgotten.with_blob(BASE))) >= 2
