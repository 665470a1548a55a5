"""Engines that are not Docker's: containerd, with passing names, and podman, with its own IDs."""

import threading
from collections.abc import Collection, Iterable

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify
from airgap.errors import EndpointError
from airgap.oci.digest import Digest
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.offline.holdings import Holdings
from airgap.offline.load import load
from airgap.offline.loader import FAILED, LOADED, THERE, LoadedImage, Loading
from airgap.progress import Silent
from tests.support.bundles import MULTI, ONE, TWO, make_gap, small_images
from tests.support.images import Layer, make_image, make_index, simple_image
from tests.support.memory import MemoryEngine, MemoryStaging
from tests.support.odd import EMPTY
from tests.support.waits import GENEROUS

IMAGES = small_images()
OLD = Digest.of(b"an older image")
STALE = "passing.invalid/x:stale"


def go(bundle: VerifiedBundle, target: MemoryEngine, **options) -> list[LoadedImage]:
    return load(target, Loading(bundle, Silent(), **options))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [result.verdict for result in results]


class Watched(MemoryStaging):
    """Notes what the images' own names mean while archives come in."""

    def load(self, tar: Iterable[bytes]) -> None:
        self.meant = [self.names.get(name) for name in (ONE, TWO, MULTI)]
        try:
            super().load(tar)
        finally:
            self.meant_after = self.names.get(ONE)


class TestPassingNames:
    @pytest.mark.parametrize("fault", ["cut", "complain", "broken", "lie", "hollow"])
    @pytest.mark.parametrize("old", [None, OLD])
    def test_a_load_that_fails_never_moves_the_name(self, bundle, fault, old):
        target = Watched(faults=[fault])
        if old:
            target.names[ONE] = old
        results = go(bundle, target, jobs=1)
        assert sorted(verdicts(results)) == [FAILED, LOADED, LOADED]
        failed = next(result for result in results if result.verdict == FAILED)
        name = str(failed.image.name)
        assert target.names.get(name) == failed.before == failed.after
        assert f"tag {name}" not in target.log
        assert not [name for name in target.names if name.startswith("passing.invalid/")]

    def test_the_name_moves_after_the_image_was_looked_at(self, bundle):
        class Blind(MemoryStaging):
            def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
                self.log.append("look")
                return super().find_id(image_id, manifests)

        target = Blind(names={ONE: OLD})
        assert verdicts(go(bundle, target, jobs=1)) == [LOADED] * 3
        loads = [at for at, what in enumerate(target.log) if what == "load"]
        for at in loads:
            assert target.log[at + 1] == "look"
            assert target.log[at + 2].startswith("tag ")
        assert target.names[ONE] == IMAGES[ONE].descriptor.digest

    def test_a_tag_that_fails(self, bundle):
        class Stuck(MemoryStaging):
            def tag(self, image_id: Digest, reference: ImageReference) -> None:
                if str(reference) == ONE:
                    raise EndpointError("stuck")
                super().tag(image_id, reference)

        target = Stuck(names={ONE: OLD})
        results = go(bundle, target)
        assert verdicts(results) == [FAILED, LOADED, LOADED]
        assert target.names[ONE] == OLD

    def test_what_a_killed_load_left_goes_also_when_nothing_is_to_do(self, bundle):
        target = MemoryStaging()
        go(bundle, target)
        target.names[STALE] = OLD
        assert verdicts(go(bundle, target)) == [THERE] * 3
        assert set(target.names) == {ONE, TWO, MULTI}

    def test_ctrl_c_leaves_none(self, bundle):
        class Interrupted(MemoryStaging):
            def load(self, tar: Iterable[bytes]) -> None:
                super().load(tar)
                raise KeyboardInterrupt

        target = Interrupted(names={ONE: OLD})
        with pytest.raises(KeyboardInterrupt):
            go(bundle, target)
        assert target.names == {ONE: OLD}

    def test_a_name_that_has_a_digest_alone_is_kept(self, tmp_path):
        """Kubernetes looks for such names."""
        image = simple_image("nameless")
        name = f"registry.test/x@{image.descriptor.digest}"
        gap = make_gap(tmp_path, images={name: image})
        with Folder(gap.bundle) as folder:
            bundle, target = verify(folder, gap.receiver()), MemoryStaging()
            assert verdicts(go(bundle, target)) == [LOADED]
            assert target.names == {name: image.descriptor.digest}
            assert verdicts(go(bundle, target)) == [THERE]
            target.names = {"registry.test/other:1": image.descriptor.digest}
            assert verdicts(go(bundle, target)) == [LOADED]
            assert name in target.names


class TestPodman:
    @pytest.fixture
    def podman(self) -> MemoryEngine:
        return MemoryEngine(keeps_index=True, config_ids=True, one_platform=True)

    def test_it_gets_the_whole_image_and_one_a_load(self, bundle, podman):
        results = go(bundle, podman)
        assert [result.after for result in results[:2]] == [IMAGES[ONE].config, IMAGES[TWO].config]
        assert all(
            set(members[-3:]) == {"oci-layout", "index.json", "manifest.json"} for members in podman.members
        )
        assert len(podman.members) == 3
        assert IMAGES[MULTI].descriptor.digest in podman.images

    def test_an_image_whose_digest_it_does_not_know_is_loaded_again(self, bundle, podman):
        """As `docker save` would have brought it: the right ID, and a manifest that podman has made."""
        podman.names[ONE] = IMAGES[ONE].config
        podman.images.add(IMAGES[ONE].config)
        assert verdicts(go(bundle, podman)) == [LOADED] * 3
        assert IMAGES[ONE].descriptor.digest in podman.images

    def test_a_load_that_loses_the_digest_has_failed(self, bundle, podman):
        class Forgetful(MemoryEngine):
            def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
                return image_id != IMAGES[ONE].descriptor.digest and super().find_id(image_id)

        target = Forgetful(keeps_index=True, config_ids=True, one_platform=True, names={ONE: OLD})
        assert verdicts(go(bundle, target)) == [FAILED, LOADED, LOADED]
        assert target.names[ONE] == OLD


class TestOnePlatform:
    """containerd and podman drop what other platforms have in an index."""

    MAKERS = (MemoryStaging, lambda: MemoryEngine(keeps_index=True, config_ids=True, one_platform=True))

    @pytest.mark.parametrize("make", MAKERS, ids=["containerd", "podman"])
    def test_nothing_is_sent_that_would_be_dropped(self, bundle, make):
        target = make()
        assert verdicts(go(bundle, target, jobs=1)) == [LOADED] * 3
        graph = next(image.graph for image in bundle.images if str(image.name) == MULTI)
        [sent] = [set(members) for members in target.members if graph.root.digest.path in members]
        own = {blob.digest for blob in graph.manifests[1].manifest.blobs}
        others = graph.blobs.keys() - own
        assert str(graph.manifests[1].platform) == "linux/amd64"
        assert {digest.path for digest in graph.documents} <= sent
        assert others
        assert not {digest.path for digest in others} & sent

    @pytest.mark.parametrize("make", MAKERS, ids=["containerd", "podman"])
    def test_a_layer_that_was_another_platforms_is_not_taken_to_be_there(self, tmp_path, make):
        """First it comes in the arm64 half of an index; then an image for this platform needs it."""
        shared = Layer.of({"assets": b"the same everywhere" * 100})
        amd64, arm64 = make_image([Layer.of({"a": b"1"})]), make_image([shared], "linux/arm64")
        target, holdings = make(), Holdings(tmp_path / "holdings.json")
        for name, image in ((MULTI, make_index([amd64, arm64])), (ONE, make_image([shared]))):
            gap = make_gap(tmp_path / name.replace("/", "-"), images={name: image})
            with Folder(gap.bundle) as folder:
                results = go(verify(folder, gap.receiver()), target, holdings=holdings)
            assert verdicts(results) == [LOADED]
        assert Digest.of(shared.blob).path in target.members[1]

    def test_the_containerd_store_of_docker_keeps_all(self, tmp_path):
        shared = Layer.of({"assets": b"the same everywhere" * 100})
        amd64, arm64 = make_image([Layer.of({"a": b"1"})]), make_image([shared], "linux/arm64")
        target, holdings = MemoryEngine(keeps_index=True), Holdings(tmp_path / "holdings.json")
        for name, image in ((MULTI, make_index([amd64, arm64])), (ONE, make_image([shared]))):
            gap = make_gap(tmp_path / name.replace("/", "-"), images={name: image})
            with Folder(gap.bundle) as folder:
                go(verify(folder, gap.receiver()), target, holdings=holdings)
        assert Digest.of(shared.blob).path in target.members[0]
        assert Digest.of(shared.blob).path not in target.members[1]


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class TestForeign:
    """What the bundle has is for another platform than the engine's, linux/amd64."""

    def load(self, tmp_path, image, target, *, times: int = 1) -> tuple[list[LoadedImage], list[str]]:
        gap, notes = make_gap(tmp_path, images={ONE: image}, options="platforms: [linux/arm64]\n"), Notes()
        with Folder(gap.bundle) as folder:
            bundle = verify(folder, gap.receiver())
            for _ in range(times):
                notes.notes.clear()
                results = load(target, Loading(bundle, notes))
        return results, notes.notes

    def index(self, *platforms: str):
        return make_index([simple_image(name, platform=name) for name in platforms])

    @pytest.mark.parametrize("keeps_index", [False, True])
    @pytest.mark.parametrize("platforms", [["linux/arm64"], ["linux/amd64", "linux/arm64"]])
    def test_docker_takes_it_and_that_is_said(self, tmp_path, keeps_index, platforms):
        target = MemoryEngine(keeps_index=keeps_index)
        results, notes = self.load(tmp_path, self.index(*platforms), target)
        assert verdicts(results) == [LOADED]
        (note,) = notes
        assert note.startswith(f"{ONE} is for linux/arm64, but docker runs linux/amd64: the image is loaded")

    def test_no_note_when_the_image_is_present(self, tmp_path):
        results, notes = self.load(
            tmp_path, self.index("linux/arm64"), MemoryEngine(keeps_index=True), times=2
        )
        assert (verdicts(results), notes) == ([THERE], [])

    @pytest.mark.parametrize("make", TestOnePlatform.MAKERS, ids=["containerd", "podman"])
    @pytest.mark.parametrize("platforms", [["linux/arm64"], ["linux/amd64", "linux/arm64"]])
    def test_of_an_index_others_want_their_own(self, tmp_path, make, platforms):
        target = make()
        results, _ = self.load(tmp_path, self.index(*platforms), target)
        assert verdicts(results) == [FAILED]
        assert str(results[0].error) == (
            f"the image has no platform for this engine: {ONE}, want linux/amd64, got linux/arm64"
        )
        assert target.members == [], "it is known before a byte is sent"

    @pytest.mark.parametrize("make", TestOnePlatform.MAKERS, ids=["containerd", "podman"])
    def test_a_lone_manifest_goes_anywhere(self, tmp_path, make):
        results, notes = self.load(tmp_path, simple_image("arm", platform="linux/arm64"), make())
        assert verdicts(results) == [LOADED]
        assert "may need emulation" in notes[0]

    @pytest.mark.parametrize("make", [*TestOnePlatform.MAKERS, MemoryEngine])
    @pytest.mark.parametrize(
        ("engine", "image"),
        [("linux/arm64", "linux/arm/v7"), ("linux/amd64", "linux/386"), ("linux/arm64", "linux/arm64/v9")],
    )
    def test_what_the_machine_runs_too(self, tmp_path, make, engine, image):
        target, notes = make(), Notes()
        target.platform = Platform.parse(engine)
        gap = make_gap(tmp_path, images={ONE: self.index(image)}, options=f"platforms: [{image}]\n")
        with Folder(gap.bundle) as folder:
            results = load(target, Loading(verify(folder, gap.receiver()), notes))
        assert (verdicts(results), notes.notes) == ([LOADED], [])


# -- layers that an image has more than once, into engines that keep layers on top of those below them

BASE, A, B = (Layer.of({name: name.encode() * 400}) for name in ("base", "a", "b"))


def bring(folder, target: MemoryEngine, images) -> list[LoadedImage]:
    gap = make_gap(folder, images=images)
    with Folder(gap.bundle) as bundle:
        return go(verify(bundle, gap.receiver()), target, jobs=1)


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
    assert verdicts(bring(tmp_path / "base", target, {ONE: make_image(there)})) == [LOADED]
    image = make_image(wanted)
    results = bring(tmp_path / "app", target, {TWO: image})
    assert (verdicts(results), target.names[TWO]) == ([LOADED], image.config)


def test_two_applications_on_one_base_in_one_bundle(tmp_path):
    target = MemoryEngine()
    images = {ONE: make_image([BASE, EMPTY, A, EMPTY]), TWO: make_image([BASE, EMPTY, B, EMPTY])}
    assert verdicts(bring(tmp_path, target, images)) == [LOADED] * 2
    assert target.names == {name: image.config for name, image in images.items()}


def test_what_is_there_at_all_its_places_is_left_out(tmp_path):
    target = MemoryEngine()
    bring(tmp_path / "base", target, {ONE: make_image([BASE, EMPTY, EMPTY])})
    bring(tmp_path / "app", target, {TWO: make_image([BASE, EMPTY, EMPTY, A])})
    sent = set(target.members[1])
    assert A.diff_id.path in sent, "unpacked on its way"
    assert (
        not {path for layer in (BASE, EMPTY) for path in (Digest.of(layer.blob).path, layer.diff_id.path)}
        & sent
    )


@pytest.mark.parametrize("keeps_index", [False, True])
def test_images_on_one_base_are_sent_at_the_same_time_after_the_base(tmp_path, keeps_index):
    class Meeting(MemoryEngine):
        together = threading.Barrier(2)

        def load(self, tar: Iterable[bytes]) -> None:
            raw = list(tar)
            if self.members:
                self.together.wait(GENEROUS)
            super().load(raw)

    images = {ONE: make_image([BASE]), TWO: make_image([BASE, A]), MULTI: make_image([BASE, B])}
    gap, target = make_gap(tmp_path, images=images), Meeting(keeps_index=keeps_index)
    with Folder(gap.bundle) as bundle:
        assert verdicts(go(verify(bundle, gap.receiver()), target)) == [LOADED] * 3
    base = {Digest.of(BASE.blob).path, BASE.diff_id.path}
    assert [bool(base & set(members)) for members in target.members] == [True, False, False]


def test_a_base_is_proved_by_the_image_that_has_most_of_it(tmp_path):
    """Each answer of Docker's containerd store takes some milliseconds."""

    class Asked(MemoryEngine):
        def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
            asked.append(image_id)
            return super().find_id(image_id, manifests)

    asked: list[Digest] = []
    target, holdings = Asked(keeps_index=True), Holdings(tmp_path / "holdings.json")
    older = {ONE: make_image([BASE]), TWO: make_image([BASE, A])}
    image = make_image([BASE, A, B])
    for number, images in enumerate((older, {MULTI: image})):
        gap = make_gap(tmp_path / str(number), images=images)
        asked.clear()
        with Folder(gap.bundle) as bundle:
            go(verify(bundle, gap.receiver()), target, holdings=holdings, jobs=1)
    planned, sent, confirmed = asked
    assert planned == sent == older[TWO].descriptor.digest
    assert confirmed == image.descriptor.digest
    assert not {Digest.of(layer.blob).path for layer in (BASE, A)} & set(target.members[-1])
