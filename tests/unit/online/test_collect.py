"""Afterwards the store holds what the plan wants, checked, and nothing else; one failure is one image's."""

from dataclasses import replace

import pytest

from airgap.bundle.store import BlobStore
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    IntegrityError,
    MediaError,
    MissingContentError,
    NotFoundError,
    PartialError,
)
from airgap.oci.digest import Digest
from airgap.online.collect import Collector, prune, refuse_partial
from airgap.online.plan import TransferPlan
from tests.support.images import Layer, make_image, make_index, noise, simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource
from tests.unit.online.support import Notes, manifest_of, plan_of

SHARED = Layer.of({"base": noise(9000, 1)})
A, B, C = (make_image([SHARED, Layer.of({n: noise(500, ord(n))})], label=n) for n in "abc")
OWN = {name: image.layers[1] for name, image in zip("abc", (A, B, C), strict=True)}
IMAGES = {"example.com/a:1": A, "example.com/b:1": B, "example.com/c:1": C}
SHARED_DIGEST = A.layers[0]
ALL = A.contents | B.contents | C.contents


class Store:
    """A store in a folder, and what a collection made of it."""

    def __init__(self, folder, held=None):
        self.folder, self.held = folder, held or {}
        self.notes, self.changes = Notes(), []

    def collect(self, plan: TransferPlan, jobs: int = 2):
        self.store = BlobStore(self.folder)
        collector = Collector(
            store=self.store,
            jobs=jobs,
            progress=self.notes,
            held=self.held,
            before_change=lambda: self.changes.append(self.files()),
        )
        found, failures = collector.collect(plan)
        refuse_partial(failures, plan)
        prune(self.store, found, plan)
        return found

    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


def paths(contents: dict[Digest, bytes]) -> dict[str, bytes]:
    return {digest.path: raw for digest, raw in contents.items()}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "bundle")


@pytest.fixture
def source():
    return MemorySource(dict(IMAGES))


@pytest.fixture
def plan(source):
    return plan_of(manifest_of(*IMAGES), registry=source)


def test_everything_comes_once_in_the_order_of_the_lock(store, source, plan):
    source.opened.clear()
    found = store.collect(plan)
    assert [str(image.record.name) for image in found] == list(IMAGES)
    assert store.files() == paths(ALL)
    # Configs and documents were read for the plan.
    assert sorted(source.opened, key=str) == sorted(
        [(SHARED_DIGEST, 0), *((d, 0) for d in OWN.values())], key=str
    )
    assert store.notes.phases == {"fetching": sum(map(len, ALL.values()))}
    assert len(store.changes) == 1


def test_what_is_there_is_read_and_not_fetched(store, source, plan):
    store.collect(plan)
    source.opened.clear()
    store.changes.clear()
    store.collect(plan)
    assert source.opened == []
    assert store.changes == []
    assert store.store.written == 0
    assert store.notes.phases["checking existing blobs"] == sum(map(len, ALL.values()))


def test_leftovers_go(store, plan):
    strays = ["blobs/sha256/" + "0" * 64, "blobs/sha256/unnamed-1.part", f"{OWN['a'].path}.part"]
    for name in strays:
        path = store.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left by an earlier attempt")
    store.collect(plan)
    assert store.files() == paths(ALL)


def test_damage_is_repaired_and_nothing_else_written(store, plan):
    store.collect(plan)
    (store.folder / OWN["b"].path).write_bytes(b"flipped")
    store.changes.clear()
    store.collect(plan)
    assert store.store.written == 1
    assert store.files() == paths(ALL)
    assert len(store.changes) == 1
    assert store.changes[0][OWN["b"].path] == b"flipped"  # told before, not after


@pytest.mark.parametrize("seekable", [True, False])
def test_a_broken_blob_is_gone_on_with(store, source, plan, seekable):
    source.breaks[OWN["a"]] = 100
    source.seekable = seekable
    with pytest.raises(EndpointError, match=r"broke off"):
        store.collect(plan)
    assert OWN["a"].path not in store.files()
    assert store.files()[f"{OWN['a'].path}.part"] == ALL[OWN["a"]][:100]
    source.opened.clear()
    store.collect(plan)
    assert source.opened == [(OWN["a"], 100)] + ([] if seekable else [(OWN["a"], 0)])
    assert store.files() == paths(ALL)


def test_one_failure_is_raised_as_it_is_and_the_others_are_there(store, source, plan):
    source.swaps[OWN["a"]] = b"x" * len(ALL[OWN["a"]])
    with pytest.raises(DigestMismatchError, match=r"example.com/a:1: blob sha256:"):
        store.collect(plan)
    assert {path for path in store.files() if not path.endswith(".part")} == set(paths(ALL)) - {OWN["a"].path}


def test_several_failures_are_one_partial_error(store, source, plan):
    for name in "ab":
        source.swaps[OWN[name]] = b"wrong"
    with pytest.raises(PartialError, match=r"some images failed, got 2 of 3") as caught:
        store.collect(plan)
    assert set(caught.value.failures) == {"example.com/a:1", "example.com/b:1"}
    assert OWN["c"].path in store.files()


def test_a_shared_layer_fails_all_images_with_one_error(store, source, plan):
    source.swaps[SHARED_DIGEST] = b"wrong"
    with pytest.raises(IntegrityError, match=str(SHARED_DIGEST)):
        store.collect(plan)
    assert store.notes.notes == []


def test_a_mediums_failure_is_everybodys(store, plan):
    store.folder.mkdir()
    (store.folder / "blobs").write_bytes(b"a file where the folder should be")
    with pytest.raises(MediaError):
        store.collect(plan)


def test_an_image_that_vanished(store, source, plan):
    del source.images["example.com/b:1"]
    with pytest.raises(NotFoundError):
        store.collect(plan)


def test_the_base_stays_behind(store, source):
    lock_plan = plan_of(manifest_of(*IMAGES), registry=source)
    plan = replace(lock_plan, held=frozenset({SHARED_DIGEST}))
    store.collect(plan)
    assert store.files() == paths({d: raw for d, raw in ALL.items() if d != SHARED_DIGEST})


# -- whole images


def export_plan(engine, *names, platforms=""):
    entries = [f"{{ref: '{name}', source: docker{platforms}}}" for name in names or engine.images]
    return plan_of(manifest_of(*entries), docker=engine)


@pytest.mark.parametrize("repacked", [False, True])
def test_exports(store, repacked):
    engine = MemoryEngine(dict(IMAGES), repacked=repacked)
    found = store.collect(export_plan(engine))
    assert engine.exports == 1
    assert {image.record.source for image in found} == {"docker, repacked" if repacked else "docker"}
    assert store.files() == paths(ALL)
    assert len(store.changes) == 1


@pytest.mark.parametrize("repacked", [False, True])
def test_held_exports_are_not_asked_for_again(store, repacked):
    engine = MemoryEngine(dict(IMAGES), repacked=repacked)
    plan = export_plan(engine)
    first = store.collect(plan)
    store.held = {image.record.name: image.graph.root for image in first}
    store.changes.clear()
    again = store.collect(plan)
    assert engine.exports == 1
    assert store.store.written == 0
    assert store.changes == []
    assert [image.record for image in again] == [image.record for image in first]


@pytest.mark.parametrize("digest", [OWN["b"], B.config, B.descriptor.digest])
@pytest.mark.parametrize("how", ["remove", "flip"])
def test_damaged_exports_are_asked_for_again(store, digest, how):
    engine = MemoryEngine(dict(IMAGES))
    plan = export_plan(engine)
    first = store.collect(plan)
    store.held = {image.record.name: image.graph.root for image in first}
    path = store.folder / digest.path
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    store.collect(plan)
    assert engine.exports == 2
    assert store.files() == paths(ALL)


def test_a_held_image_of_another_lock_is_not_taken(store):
    """The folder holds an image under the name whose config is not the locked one."""
    engine = MemoryEngine({"example.com/a:1": A}, repacked=True)
    first = store.collect(export_plan(engine))
    engine.images["example.com/a:1"] = B
    store.held = {image.record.name: image.graph.root for image in first}
    [image] = store.collect(export_plan(engine))
    assert engine.exports == 2
    assert image.record.digest == B.descriptor.digest


def test_an_image_that_changed_since_the_lock(store):
    engine = MemoryEngine({"example.com/a:1": A})
    plan = export_plan(engine)
    engine.images["example.com/a:1"] = B
    with pytest.raises(IntegrityError, match=r"the image changed after it was locked: example.com/a:1"):
        store.collect(plan)


def test_an_engine_that_leaves_out_a_blob(store):
    engine = MemoryEngine({"example.com/a:1": A}, left_out={OWN["a"]})
    with pytest.raises(
        MissingContentError, match=r"a blob is missing from what the source saved: example.com/a:1"
    ):
        store.collect(export_plan(engine))


def test_an_engine_that_goes_away_leaves_the_others(store, source):
    engine = MemoryEngine({"example.com/a:1": A}, fails=True)
    manifest = manifest_of("{ref: example.com/a:1, source: docker}", "example.com/b:1")
    with pytest.raises(EndpointError, match=r"the engine went away"):
        store.collect(plan_of(manifest, docker=engine, registry=source))
    assert OWN["b"].path in store.files()


def test_only_the_wanted_platform_of_an_export_is_kept(store):
    amd, arm = simple_image("amd"), simple_image("arm", platform="linux/arm64")
    index = make_index([amd, arm])
    engine = MemoryEngine({"example.com/multi:1": index})
    [image] = store.collect(export_plan(engine, platforms=", platforms: [linux/arm64]"))
    assert store.files() == paths(arm.contents | {index.descriptor.digest: index.raw})
    assert [record.platform for record in image.record.platforms] == ["linux/arm64"]
