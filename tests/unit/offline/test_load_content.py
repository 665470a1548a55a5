"""What only registries do: refuse sparse indexes, and share blobs between repositories; and many images."""

import json
import threading
import time
from dataclasses import dataclass, field

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify import verify
from airgap.errors import IncompleteError, SparseIndexError
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES
from airgap.oci.reference import ImageReference
from airgap.offline import load_content as module
from airgap.offline.holdings import Holdings
from airgap.offline.load import load
from airgap.offline.loader import FAILED, LOADED, THERE, Loading
from airgap.progress import Silent
from airgap.workers import run_all
from tests.support.bundles import MULTI, ONE, Gap, make_gap, small_images
from tests.support.images import Layer, make_image, make_index, noise, simple_image
from tests.support.memory import MemoryContent, MemoryRegistry

IMAGES = small_images()
BASE = IMAGES[ONE].layers[0]
A, B = "registry.test/a:1", "registry.test/b:1"
OLD_NAME = ImageReference.parse("registry.test/old:1")


@dataclass
class Whole(MemoryContent):
    """Takes no index of which it lacks manifests."""

    def put_document(self, reference, descriptor, raw):
        children = (
            (Digest.parse(text) for text in find_digests(raw)) if descriptor.media_type in INDEX_TYPES else ()
        )
        if any(child not in self.contents for child in children):
            raise SparseIndexError("the registry lacks content that this document names")
        super().put_document(reference, descriptor, raw)


def find_digests(raw: bytes) -> list[str]:
    return [entry["digest"] for entry in json.loads(raw)["manifests"]]


@dataclass
class Shared(MemoryRegistry):
    """A registry: a blob is held by those it was put into or mounted for."""

    held: set[tuple[str, Digest]] = field(default_factory=set)
    mounts: bool = True

    def holds(self, reference, descriptor):
        return (reference.name, descriptor.digest) in self.held

    def put_blob(self, reference, descriptor, stream):
        super().put_blob(reference, descriptor, stream)
        self.held.add((reference.name, descriptor.digest))

    def mount(self, reference, descriptor, source):
        if not self.mounts:
            return False
        assert (source.name, descriptor.digest) in self.held
        self.held.add((reference.name, descriptor.digest))
        return True


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def sparse(tmp_path, *platforms: str) -> Gap:
    images = [simple_image(name, platform=name) for name in ("linux/amd64", "linux/arm64", "linux/s390x")]
    options = f"platforms: [{', '.join(platforms)}]\n"
    return make_gap(tmp_path, images={MULTI: make_index(images)}, options=options)


class TestSparse:
    def test_one_platform_stands_for_the_index(self, tmp_path):
        gap, target, notes = sparse(tmp_path, "linux/arm64"), Whole(), Notes()
        with Folder(gap.bundle) as folder:
            bundle = verify(folder, gap.receiver())
            first = load(target, Loading(bundle, notes))
            again = load(target, Loading(bundle, notes))
        lone = simple_image("linux/arm64", platform="linux/arm64").descriptor.digest
        assert target.names == {MULTI: lone}
        assert [first[0].verdict, again[0].verdict] == [LOADED, THERE]
        assert len(notes.notes) == 1
        assert f"the name refers to its linux/arm64 image, {lone}" in notes.notes[0]

    def test_of_two_an_index_is_made_and_known_again(self, tmp_path):
        gap, target, notes = sparse(tmp_path, "linux/arm64", "linux/amd64"), Whole(), Notes()
        with Folder(gap.bundle) as folder:
            bundle = verify(folder, gap.receiver())
            first = load(target, Loading(bundle, notes))
            again = load(target, Loading(bundle, notes))
        made = first[0].after
        assert target.names == {MULTI: made}
        original = json.loads(first[0].image.graph.documents[first[0].image.record.digest][1])
        platforms = [entry["platform"]["architecture"] for entry in original["manifests"]]
        assert platforms == ["amd64", "arm64", "s390x"]
        assert json.loads(target.contents[made]) == {**original, "manifests": original["manifests"][:2]}
        assert [first[0].verdict, again[0].verdict] == [LOADED, THERE]
        assert "an index made by airgap of linux/amd64, linux/arm64" in first[0].reason
        assert first[0].reason == again[0].reason
        assert len(notes.notes) == 1

    def test_a_whole_index_is_taken(self, tmp_path):
        gap, target = sparse(tmp_path), Whole()
        with Folder(gap.bundle) as folder:
            results = load(target, Loading(verify(folder, gap.receiver()), Silent()))
        assert results[0].verdict == LOADED
        assert target.names == {MULTI: results[0].image.record.digest}


class TestMounting:
    @pytest.fixture
    def delta(self, gap):
        gap.forge({BASE.path: None}, requires=(Requirement(BASE, gap.blob(BASE).stat().st_size, (ONE,)),))
        with Folder(gap.bundle) as folder:
            yield verify(folder, gap.receiver())

    def holdings(self, tmp_path) -> Holdings:
        found = Holdings(tmp_path / "holdings.json")
        found.add(OLD_NAME, Digest.of(b"old"), [BASE])
        return found

    def test_out_of_another_repository(self, delta, tmp_path):
        target = Shared(held={(OLD_NAME.name, BASE)})
        results = load(target, Loading(delta, Silent(), holdings=self.holdings(tmp_path)))
        assert {result.verdict for result in results} == {LOADED}
        assert (results[0].image.name.name, BASE) in target.held

    def test_a_blob_in_no_known_repository(self, delta):
        target = Shared(held={(OLD_NAME.name, BASE)})
        with pytest.raises(IncompleteError, match="the base is not at the target"):
            load(target, Loading(delta, Silent()))
        assert target.log == []

    def test_no_longer_there(self, delta, tmp_path):
        with pytest.raises(IncompleteError, match="the base is not at the target"):
            load(Shared(), Loading(delta, Silent(), holdings=self.holdings(tmp_path)))

    def test_a_registry_that_does_not_share(self, delta, tmp_path):
        target = Shared(held={(OLD_NAME.name, BASE)}, mounts=False)
        results = load(target, Loading(delta, Silent(), holdings=self.holdings(tmp_path)))
        assert results[0].verdict == FAILED
        assert "does not share blobs between repositories" in str(results[0].error)
        assert ONE not in target.names


def test_what_came_by_a_load_that_was_cut_off_is_remembered(bundle, tmp_path):
    """Its names moved, and it was killed before it could write them down."""
    target = MemoryContent()
    load(target, Loading(bundle, Silent()))
    holdings = Holdings(tmp_path / "holdings.json")
    results = load(target, Loading(bundle, Silent(), holdings=holdings))
    assert {result.verdict for result in results} == {THERE}
    for result in results:
        held = holdings.images[result.image.name, result.image.record.digest]
        assert held.blobs == set(result.image.graph.contents)


def test_what_failed_is_not_remembered(bundle, tmp_path):
    target = MemoryContent(refuse={BASE})
    holdings = Holdings(tmp_path / "holdings.json")
    results = load(target, Loading(bundle, Silent(), holdings=holdings))
    loaded = {result.image.name for result in results if result.verdict == LOADED}
    assert {name for name, _ in holdings.images} == loaded != {result.image.name for result in results}


class Waits(Shared):
    """Files one blob for as long as another one has not come."""

    def put_blob(self, reference, descriptor, stream):
        if descriptor.digest == self.slow:
            self.came.wait(120)
            self.waited_for_nothing = not self.came.is_set()
        super().put_blob(reference, descriptor, stream)
        if descriptor.digest == self.other:
            self.came.set()


class TestSeveralImages:
    """`b` is the larger one, and goes first."""

    @pytest.fixture
    def gap(self, tmp_path):
        shared = Layer.of({"shared": noise(2000, 1)})
        self.a = make_image([shared, Layer.of({"a": noise(5000, 2)})])
        self.b = make_image([shared, Layer.of({"b": noise(9000, 3)})])
        return make_gap(tmp_path, images={A: self.a, B: self.b})

    @pytest.fixture
    def bundle(self, gap):
        with Folder(gap.bundle) as folder:
            yield verify(folder, gap.receiver())

    def test_the_next_image_goes_while_a_large_blob_is_filed(self, bundle):
        target = Waits()
        target.slow, target.other, target.came = self.b.layers[1], self.a.layers[1], threading.Event()
        results = load(target, Loading(bundle, Silent(), jobs=2))
        assert {result.verdict for result in results} == {LOADED}
        assert not target.waited_for_nothing

    def test_a_blob_that_both_need_is_sent_once(self, bundle):
        """A registry mounts it into the second repository, see `Registry.upload`."""

        class Slow(MemoryContent):
            def put_blob(self, reference, descriptor, stream):
                time.sleep(0.02)
                super().put_blob(reference, descriptor, stream)

        target = Slow()
        load(target, Loading(bundle, Silent(), jobs=4))
        assert target.log.count("blob") == 2 + 3, "configs and layers"
        assert set(target.names) == {A, B}

    def test_what_both_need_and_cannot_be_stored_fails_both(self, bundle):
        target = Shared(refuse={self.a.layers[0]})
        results = load(target, Loading(bundle, Silent(), jobs=4))
        assert {result.verdict for result in results} == {FAILED}
        assert {str(result.error) for result in results} == {f"refused: {self.a.layers[0]}"}
        assert target.names == {}

    def test_what_one_needs_fails_that_one(self, bundle):
        target = Shared(refuse={self.b.layers[1]})
        results = {
            str(result.image.name): result for result in load(target, Loading(bundle, Silent(), jobs=4))
        }
        assert (results[A].verdict, results[B].verdict) == (LOADED, FAILED)
        assert set(target.names) == {A}

    def test_no_name_before_all_blobs_of_the_image(self, bundle):
        wanted = {A: {self.a.config, *self.a.layers}, B: {self.b.config, *self.b.layers}}
        missing: list[Digest] = []

        class Watched(Shared):
            def tag(self, reference, descriptor, raw):
                held = {digest for name, digest in self.held if name == reference.name}
                missing.extend(wanted[str(reference)] - held)
                super().tag(reference, descriptor, raw)

        for jobs in (1, 2, 4):
            target = Watched()
            load(target, Loading(bundle, Silent(), jobs=jobs))
            assert set(target.names) == {A, B}
        assert missing == []

    def test_names_are_given_one_after_the_other(self, bundle):
        """An OCI directory has one list of names, and a registry a list of referrers."""
        naming = threading.Lock()
        twice: list[str] = []

        class Watched(Shared):
            def tag(self, reference, descriptor, raw):
                if not naming.acquire(blocking=False):
                    twice.append(str(reference))
                    return
                time.sleep(0.05)
                super().tag(reference, descriptor, raw)
                naming.release()

        load(Watched(), Loading(bundle, Silent(), jobs=4))
        assert twice == []

    def test_no_name_moves_after_ctrl_c(self, bundle, monkeypatch):
        reached, go_on, done = threading.Event(), threading.Event(), threading.Event()

        class Slow(Shared):
            def put_blob(self, reference, descriptor, stream):
                reached.set()
                go_on.wait(120)
                super().put_blob(reference, descriptor, stream)

        def interrupted(do, items, jobs):
            def work():
                run_all(do, items, jobs)
                done.set()

            threading.Thread(target=work, daemon=True).start()
            assert reached.wait(120)
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "run_all", interrupted)
        target = Slow()
        with pytest.raises(KeyboardInterrupt):
            load(target, Loading(bundle, Silent(), jobs=2))
        go_on.set()
        assert done.wait(120)
        assert target.names == {}
