"""A manifest that is locked again: what is kept, what is resolved, and what was and is."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cli.conftest import Gap
from tests.support.attachments import attach
from tests.support.images import Image, simple_image
from tests.support.registry import FakeRegistry

OLD = {name: simple_image(name) for name in ("api", "web", "db")}
NEW = {name: simple_image(f"{name} moved") for name in OLD}


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        for name, image in OLD.items():
            registry.add(name, "1", image)
        yield registry


def move_all(fake: FakeRegistry) -> None:
    for name, image in NEW.items():
        fake.add(name, "1", image)


def listing(gap: Gap, fake: FakeRegistry, *names: str) -> object:
    return gap.manifest(*(f"{fake.host}/{name}" for name in names))


def digests(gap: Gap) -> list[str]:
    return [
        image["digest"] for image in yaml.safe_load((gap.folder / "stack.lock.yaml").read_text())["images"]
    ]


def of(*images: Image) -> list[str]:
    return [str(image.descriptor.digest) for image in images]


def test_a_lock_keeps_what_did_not_change(gap: Gap, fake: FakeRegistry) -> None:
    gap.online("lock", listing(gap, fake, "api:1", "web:1"))
    move_all(fake)
    path = listing(gap, fake, "web:1", "db:1")
    done = gap.online("lock", path)
    assert digests(gap) == of(OLD["web"], NEW["db"])
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[1] == [f"{fake.host}/web:1", *of(OLD["web"]), "the", "same"]
    assert rows[2] == [f"{fake.host}/db:1", "-", *of(NEW["db"])]
    assert rows[3] == [f"{fake.host}/api:1", *of(OLD["api"]), "removed"]
    assert "2 of 3 images changed" in done.out
    assert "\nnothing changed\n" in gap.online("lock", path).out


def test_update_all_resolves_all_tags_again(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake, "api:1", "web:1")
    gap.online("lock", path)
    move_all(fake)
    done = gap.online("lock", path, "--update", "all", "--json").json
    assert done["relocked"] == [
        {"reference": f"{fake.host}/{name}:1", "was": of(OLD[name])[0], "now": of(NEW[name])[0]}
        for name in ("api", "web")
    ]
    assert digests(gap) == of(NEW["api"], NEW["web"])


@pytest.mark.parametrize("name", ["api:1", "api"])
def test_only_one_image_is_resolved_again(gap: Gap, fake: FakeRegistry, name: str) -> None:
    path = listing(gap, fake, "api:1", "web:1")
    gap.online("lock", path)
    move_all(fake)
    gap.online("lock", path, "--only", f"{fake.host}/{name}")
    assert digests(gap) == of(NEW["api"], OLD["web"])


@pytest.mark.parametrize(
    "change",
    [
        {"platforms": "linux/amd64"},
        {"as": "plant.example/api:1"},
        {"attachments": "none"},
        {"digest": of(NEW["api"])[0]},
    ],
)
def test_an_image_that_the_manifest_lists_otherwise_is_resolved(
    gap: Gap, fake: FakeRegistry, change: dict[str, str]
) -> None:
    gap.online("lock", listing(gap, fake, "api:1"))
    move_all(fake)
    gap.online("lock", gap.manifest(str({"ref": f"{fake.host}/api:1", **change})))
    assert digests(gap) == of(NEW["api"])


def test_an_archive_is_read_again_unless_only_others_are_meant(gap: Gap, fake: FakeRegistry) -> None:
    gap.layout(tool=OLD["db"])
    path = gap.manifest(f"{fake.host}/api:1", "{oci: source}")
    gap.online("lock", path)
    move_all(fake)
    gap.layout(tool=NEW["db"])
    path = gap.manifest(f"{fake.host}/api:1", "{oci: source}")
    gap.online("lock", path, "--only", f"{fake.host}/api:1")
    assert digests(gap) == of(NEW["api"], OLD["db"])
    gap.online("lock", path, "--only", "source")
    assert digests(gap) == of(NEW["api"], NEW["db"])
    gap.layout(tool=OLD["db"])
    gap.online("lock", gap.manifest(f"{fake.host}/api:1", "{oci: source}"))
    assert digests(gap) == of(NEW["api"], OLD["db"])


def test_attachments_are_kept_with_their_image(gap: Gap, fake: FakeRegistry) -> None:
    attach(fake, "api", OLD["api"], "tag")
    path = listing(gap, fake, "api:1")
    gap.online("lock", path)
    before = (gap.folder / "stack.lock.yaml").read_bytes()
    move_all(fake)
    asked = len(fake.requests)
    gap.online("lock", path)
    assert (gap.folder / "stack.lock.yaml").read_bytes() == before
    assert len(fake.requests) == asked


def test_two_names_of_one_image_are_resolved_again(gap: Gap, fake: FakeRegistry) -> None:
    """Its attachments are in the lock once, with the name that is gone."""
    attach(fake, "api", OLD["api"], "tag")
    fake.add("api", "2", OLD["api"])
    gap.online("lock", listing(gap, fake, "api:1", "api:2"))
    assert len(digests(gap)) == 3
    gap.online("lock", listing(gap, fake, "api:2"))
    assert len(digests(gap)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "none:1"], "no such image in the manifest: none:1"),
        (["--only", "Not A Name"], "no such image in the manifest"),
        (["--update", "some"], "--update resolves everything, want --update all, or --only IMAGE, got some"),
        (["--update", "all", "--only", "api:1"], "--update resolves everything"),
    ],
)
def test_bad_choices_are_refused(gap: Gap, fake: FakeRegistry, words: list[str], message: str) -> None:
    path = listing(gap, fake, "api:1")
    gap.online("lock", path)
    before = (gap.folder / "stack.lock.yaml").read_bytes()
    assert message in gap.online("lock", path, *words, code=2).err
    assert (gap.folder / "stack.lock.yaml").read_bytes() == before


def test_only_needs_a_lock_of_the_others(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake, "api:1")
    api = f"{fake.host}/api:1"
    assert "--only needs a lock" in gap.online("lock", path, "--only", api, code=2).err
    gap.online("lock", path)
    path = listing(gap, fake, "api:1", "web:1")
    done = gap.online("lock", path, "--only", api, code=2)
    assert f"the lock does not have this image as the manifest lists it: {fake.host}/web:1" in done.err
    gap.online("lock", path, "--only", f"{fake.host}/web:1")


def test_a_damaged_lock_is_not_replaced_silently(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake, "api:1")
    (gap.folder / "stack.lock.yaml").write_text("version: 1\n")
    assert "hint: `airgap lock --update all` writes it again" in gap.online("lock", path, code=10).err
    gap.online("lock", path, "--update", "all")
    assert digests(gap) == of(OLD["api"])


def test_a_lock_that_fails_leaves_the_one_before(gap: Gap, fake: FakeRegistry) -> None:
    gap.online("lock", listing(gap, fake, "api:1"))
    before = (gap.folder / "stack.lock.yaml").read_bytes()
    gap.online("lock", listing(gap, fake, "api:1", "none:1"), code=18)
    assert (gap.folder / "stack.lock.yaml").read_bytes() == before
