"""A bundle is loaded into every kind of target."""

import gzip
import json

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    EndpointError,
    PolicyError,
    UnavailableError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.offline.loader import FAILED, LOADED, SKIPPED, THERE, ConflictRule
from tests.support.bundles import MULTI, ONE, TWO, make_gap
from tests.support.images import Layer, make_image, make_index, simple_image
from tests.support.memory import MemoryContent, MemoryEngine
from tests.unit.offline.load_support import (
    ALL,
    BASE,
    IMAGES,
    LAYER,
    OLD,
    AnyTarget,
    chart_bundle,
    go,
    verdicts,
)

NAMES = [ONE, TWO, MULTI]


ENGINES = pytest.mark.parametrize("keeps_index", [False, True], ids=["graph driver", "containerd store"])


def wanted(target: AnyTarget, name: str) -> Digest:
    """What an image's name means at the target."""
    if isinstance(target, MemoryEngine) and target.info().ids_are_configs:
        if name == MULTI:
            amd64 = json.loads(IMAGES[MULTI].raw)["manifests"][1]["digest"]
            manifest = IMAGES[MULTI].contents[Digest.parse(amd64)]
            return Digest.parse(json.loads(manifest)["config"]["digest"])
        return IMAGES[name].config
    return IMAGES[name].descriptor.digest


class TestAll:
    @ALL
    def test_loaded(self, bundle, make):
        target = make()
        results = go(bundle, target)
        assert verdicts(results) == [LOADED] * 3
        assert target.names == {name: wanted(target, name) for name in NAMES}
        assert [(result.before, result.after) for result in results] == [
            (None, wanted(target, n)) for n in NAMES
        ]

    @ALL
    def test_again_is_nothing(self, bundle, make):
        target = make()
        go(bundle, target)
        before = list(target.log)
        results = go(bundle, target)
        assert verdicts(results) == [THERE] * 3
        assert [result.after for result in results] == [wanted(target, name) for name in NAMES]
        assert target.log == before

    @ALL
    def test_after_an_error_no_other_name_is_looked_up(self, bundle, make):
        target, asked = make(), []

        def find(reference: ImageReference) -> None:
            asked.append(str(reference))
            raise UnavailableError("no answer")

        target.find = find
        with pytest.raises(UnavailableError, match="no answer"):
            go(bundle, target)
        assert asked == [NAMES[0]]

    @ALL
    def test_old_names_are_replaced_and_told(self, bundle, make):
        target = make()
        target.names[ONE] = OLD
        results = go(bundle, target)
        assert (results[0].before, results[0].after) == (OLD, wanted(target, ONE))

    @ALL
    def test_conflicts_are_refused_before_anything_moves(self, bundle, make):
        target, moved = make(), []
        target.names[MULTI] = OLD
        with pytest.raises(PolicyError) as caught:
            go(bundle, target, on_conflict=ConflictRule.REFUSE, before_names_move=lambda: moved.append(1))
        assert str(caught.value).startswith(
            f"the name refers to another image at the target: {MULTI}, want sha256:"
        )
        assert (target.log, target.names, moved) == ([], {MULTI: OLD}, [])

    @ALL
    def test_no_conflict_with_the_same_image(self, bundle, make):
        target = make()
        go(bundle, target)
        assert verdicts(go(bundle, target, on_conflict=ConflictRule.REFUSE)) == [THERE] * 3

    @ALL
    def test_the_mark_is_raised_once_before_anything_changes(self, bundle, make):
        target, seen = make(), []
        go(bundle, target, before_names_move=lambda: seen.append((list(target.log), dict(target.names))))
        assert seen == [([], {})]

    @ALL
    def test_no_mark_no_load(self, bundle, make):
        target = make()

        def fail() -> None:
            raise AirgapError("cannot remember")

        with pytest.raises(AirgapError, match="cannot remember"):
            go(bundle, target, before_names_move=fail)
        assert (target.log, target.names) == ([], {})

    @ALL
    def test_one_wrong_layer_leaves_the_others(self, gap, bundle, make):
        gap.flip(LAYER.path)
        target = make()
        target.names[ONE] = OLD
        results = go(bundle, target)
        assert verdicts(results) == [FAILED, LOADED, LOADED]
        assert isinstance(results[0].error, DigestMismatchError)
        assert (results[0].before, results[0].after) == (OLD, OLD)
        assert target.names == {ONE: OLD, TWO: wanted(target, TWO), MULTI: wanted(target, MULTI)}

    @ALL
    def test_the_rest_comes_with_the_next_load(self, gap, bundle, make):
        gap.flip(LAYER.path)
        target = make()
        go(bundle, target)
        gap.flip(LAYER.path)
        assert verdicts(go(bundle, target)) == [LOADED, THERE, THERE]
        assert target.names == {name: wanted(target, name) for name in NAMES}

    @ALL
    def test_a_layer_that_is_gone(self, gap, bundle, make):
        gap.blob(LAYER).unlink()
        assert verdicts(go(bundle, make())) == [FAILED, LOADED, LOADED]


class TestContent:
    def test_documents_after_blobs_children_first_name_last(self, bundle):
        target = MemoryContent()
        go(bundle, target, jobs=1)
        last = len(target.log) - target.log[::-1].index("blob") - 1
        named = ["document", f"tag {ONE}", "document", f"tag {TWO}", *["document"] * 4, f"tag {MULTI}"]
        assert target.log[last + 1 :] == named
        assert all(
            target.contents[digest] == raw
            for image in IMAGES.values()
            for digest, raw in image.contents.items()
        )

    def test_shared_blobs_are_sent_once(self, bundle):
        target = MemoryContent()
        go(bundle, target)
        assert target.log.count("blob") == len(bundle_blobs(bundle))

    @pytest.mark.parametrize("which", ["layer", "manifest"])
    def test_a_target_that_refuses(self, bundle, which):
        refused = LAYER if which == "layer" else IMAGES[ONE].descriptor.digest
        target = MemoryContent(refuse={refused}, names={ONE: OLD})
        results = go(bundle, target)
        assert verdicts(results) == [FAILED, LOADED, LOADED]
        assert target.names[ONE] == OLD

    def test_a_target_that_lies(self, bundle):
        results = go(bundle, MemoryContent(lies=True))
        assert verdicts(results) == [FAILED] * 3
        assert "the target does not have the image under its name" in str(results[0].error)

    def test_artifacts_go_there(self, tmp_path):
        with chart_bundle(tmp_path) as bundle:
            assert verdicts(go(bundle, MemoryContent())) == [LOADED]


def bundle_blobs(bundle: VerifiedBundle) -> set[Digest]:
    return {digest for image in bundle.images for digest in image.graph.blobs}


class TestEngine:
    @ENGINES
    @pytest.mark.parametrize("fault", ["cut", "complain", "broken", "lie", "hollow"])
    @pytest.mark.parametrize("old", [None, OLD])
    def test_old_names_are_put_back(self, bundle, keeps_index, fault, old):
        target = MemoryEngine(keeps_index=keeps_index, faults=[fault])
        if old:
            target.names |= dict.fromkeys((ONE, TWO, MULTI), old)
        results = go(bundle, target, jobs=1)
        assert sorted(verdicts(results)) == [FAILED, LOADED, LOADED]
        [failed] = [result for result in results if result.verdict == FAILED]
        name = str(failed.image.name)
        assert isinstance(failed.error, EndpointError)
        assert target.names.get(name) == old
        assert (failed.before, failed.after) == (old, old)
        if fault in ("broken", "hollow"):
            assert (f"tag {name}" if old else f"untag {name}") in target.log

    @ENGINES
    def test_ctrl_c_puts_them_back_too(self, bundle, keeps_index):
        class Interrupted(MemoryEngine):
            def load(self, tar):
                super().load(tar)
                raise KeyboardInterrupt

        target = Interrupted(keeps_index=keeps_index, names={ONE: OLD})
        with pytest.raises(KeyboardInterrupt):
            go(bundle, target)
        assert target.names == {ONE: OLD}

    def test_an_engine_that_is_away_when_names_are_put_back(self, bundle):
        class Away(MemoryEngine):
            gone = False

            def load(self, tar):
                self.gone = True
                raise EndpointError("connection lost")

            def find(self, reference):
                if self.gone:
                    raise EndpointError("away")
                return super().find(reference)

        results = go(bundle, Away(names={ONE: OLD}))
        assert str(results[0].error) == "connection lost"

    @ENGINES
    def test_no_archive_comes_to_its_end_with_a_wrong_blob(self, gap, bundle, keeps_index):
        """The tables come last, so that an engine that registers as it reads has nothing to register."""
        gap.flip(BASE.path)
        seen = bytearray()

        class Watching(MemoryEngine):
            def load(self, tar):
                for chunk in tar:
                    seen.extend(chunk)
                raise AssertionError("the archive came to its end")

        assert verdicts(go(bundle, Watching(keeps_index=keeps_index))) == [FAILED] * 3
        assert b"manifest.json" not in seen
        assert b"index.json" not in seen

    def test_a_graph_driver_gets_one_platform(self, bundle):
        target = MemoryEngine()
        go(bundle, target, jobs=1)
        for members in target.members:
            assert [name for name in members if not name.startswith("blobs/")] == ["manifest.json"]
        sent = [
            Digest("sha256", name.rpartition("/")[2]) for members in target.members for name in members[:-1]
        ]
        images = json.loads(IMAGES[MULTI].raw)["manifests"]
        configs = [json.loads(IMAGES[MULTI].contents[Digest.parse(i["digest"])])["config"] for i in images]
        assert [Digest.parse(config["digest"]) in sent for config in configs] == [False, True, False]
        assert IMAGES[MULTI].descriptor.digest not in sent

    def test_the_containerd_store_gets_all(self, bundle):
        target = MemoryEngine(keeps_index=True)
        go(bundle, target, jobs=1)
        for members in target.members:
            assert set(members[-3:]) == {"oci-layout", "index.json", "manifest.json"}
        assert any(IMAGES[MULTI].descriptor.digest.path in members for members in target.members)

    @pytest.mark.parametrize(("platform", "which"), [("linux/arm64", 2), ("linux/arm/v7", 0)])
    def test_the_right_platform(self, bundle, platform, which):
        target = MemoryEngine(platform=Platform.parse(platform))
        results = go(bundle, target)
        digest = json.loads(IMAGES[MULTI].raw)["manifests"][which]["digest"]
        manifest = json.loads(IMAGES[MULTI].contents[Digest.parse(digest)])
        assert str(results[2].after) == manifest["config"]["digest"]

    def test_no_such_platform(self, bundle):
        target = MemoryEngine(platform=Platform("windows", "amd64"))
        results = go(bundle, target)
        assert verdicts(results) == [LOADED, LOADED, FAILED], "an image of one platform may be emulated"
        assert "the image has no platform for this engine" in str(results[2].error)

    def test_zstd_is_unpacked_for_engines_that_cannot(self, tmp_path):
        layer = Layer.of({"bin": b"x" * 5000}, "zstd")
        image = make_image([Layer.of({"base": b"y"}), layer])
        gap = make_gap(tmp_path, images={ONE: image})
        with Folder(gap.bundle) as folder:
            bundle = verify(folder, gap.receiver())
            able, unable = MemoryEngine(), MemoryEngine(zstd_layers=False)
            assert verdicts(go(bundle, able)) == verdicts(go(bundle, unable)) == [LOADED]
        assert able.names == unable.names == {ONE: image.config}
        assert layer.diff_id.path in unable.files
        assert Digest.of(unable.files[layer.diff_id.path]) == layer.diff_id
        assert image.layers[1].path in able.files
        assert image.layers[1].path not in unable.files

    def test_zstd_that_is_something_else(self, tmp_path):
        layer = Layer.of({"bin": b"x" * 5000}, "zstd")
        lying = Layer(layer.blob, layer.media_type, Digest.of(b"something else"))
        gap = make_gap(tmp_path, images={ONE: make_image([lying]), TWO: simple_image("good")})
        with Folder(gap.bundle) as folder:
            results = go(verify(folder, gap.receiver()), MemoryEngine(zstd_layers=False))
        assert verdicts(results) == [FAILED, LOADED]
        assert "the layer does not have the digest in the config" in str(results[0].error)

    @ENGINES
    def test_artifacts_are_skipped(self, tmp_path, keeps_index):
        with chart_bundle(tmp_path) as bundle:
            results = go(bundle, MemoryEngine(keeps_index=keeps_index))
        assert verdicts(results) == [SKIPPED]
        assert results[0].reason == "an artifact; engines take images only"

    @ENGINES
    def test_an_image_of_which_no_platform_is_carried_has_failed(self, gap, keeps_index):
        """As a bundle from a source that had only another platform: it holds the index, and nothing under it."""
        index = make_index([simple_image("elsewhere", platform="linux/s390x")])
        gap.put_image(index.raw, media_type=OCI_INDEX, kind="artifact")
        with Folder(gap.bundle) as folder:
            results = go(verify(folder, gap.receiver()), MemoryEngine(keeps_index=keeps_index))
        assert verdicts(results) == [FAILED]
        assert "the bundle has none of the platforms of this image" in str(results[0].error)

    @ENGINES
    def test_an_image_without_a_tag(self, tmp_path, keeps_index):
        image = simple_image("nameless")
        name = f"registry.test/x@{image.descriptor.digest}"
        gap = make_gap(tmp_path, images={name: image})
        with Folder(gap.bundle) as folder:
            bundle, target = verify(folder, gap.receiver()), MemoryEngine(keeps_index=keeps_index)
            assert verdicts(go(bundle, target)) == [LOADED]
            assert image.config in target.images or keeps_index
            assert verdicts(go(bundle, target)) == [THERE]
            lying = MemoryEngine(keeps_index=keeps_index, faults=["lie"])
            assert verdicts(go(bundle, lying)) == [FAILED]

    def test_layers_that_the_engine_has_are_left_out(self, bundle):
        target = MemoryEngine()
        go(bundle, target)
        plain = Digest.of(gzip.decompress(IMAGES[ONE].contents[BASE])).path
        assert [plain in members for members in target.members[:2]] == [True, False]
