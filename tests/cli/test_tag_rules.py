"""Rules for tags: what is locked, what came and went, and registries that list tags badly."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.cli.conftest import Gap
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

IMAGES = {tag: simple_image(f"web {tag}") for tag in ("1.25.9", "1.26.0", "1.26.1", "1.27.0", "2.0.0")}
RULE = '{semver: ">=1.26 <2", latest: 2}'
PULLED = "/tags/list"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.page_size = 2
        for tag, image in IMAGES.items():
            registry.add("web", tag, image)
        registry.add("api", "1", simple_image("api"))
        yield registry


def listing(gap: Gap, fake: FakeRegistry, rule: str = RULE, *more: str) -> object:
    return gap.manifest(f"{{ref: {fake.host}/web, as: plant.example/web, tags: {rule}}}", *more)


def names(gap: Gap) -> list[str]:
    return [image["as"] for image in yaml.safe_load((gap.folder / "stack.lock.yaml").read_text())["images"]]


def of(*tags: str) -> list[str]:
    return [f"plant.example/web:{tag}" for tag in tags]


def test_a_rule_is_locked_and_packed(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake)
    gap.online("lock", path)
    assert names(gap) == of("1.27.0", "1.26.1")
    planned = gap.online("plan", path, "--json").json
    assert [image["as"] for image in planned["images"]] == of("1.27.0", "1.26.1")
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("verify", gap.stick / "stack-0001")


def test_without_a_lock_the_rule_is_applied_now(gap: Gap, fake: FakeRegistry) -> None:
    planned = gap.online("plan", listing(gap, fake), "--json").json
    assert [image["as"] for image in planned["images"]] == of("1.27.0", "1.26.1")
    path = gap.folder / "stack.yaml"
    assert "does not have the names of all images" in gap.online("diff", path, path, code=10).err


def test_tags_come_and_go(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake)
    gap.online("lock", path)
    before = (gap.folder / "stack.lock.yaml").read_bytes()
    fake.add("web", "1.26.1", simple_image("moved"))
    assert "nothing changed" in gap.online("lock", path).out
    assert (gap.folder / "stack.lock.yaml").read_bytes() == before
    fake.add("web", "1.27.1", simple_image("web 1.27.1"))
    done = gap.online("lock", path)
    assert f"tags of {fake.host}/web: +1.27.1 -1.26.1" in done.out
    assert names(gap) == of("1.27.1", "1.27.0")
    assert gap.online("lock", path, "--json").json["tags"] == [
        {"repository": f"{fake.host}/web", "tags": ["1.27.1", "1.27.0"], "came": [], "went": []}
    ]


def test_only_other_images_leave_the_tags_as_they_are(gap: Gap, fake: FakeRegistry) -> None:
    path = listing(gap, fake, RULE, f"{fake.host}/api:1")
    gap.online("lock", path)
    fake.add("web", "1.27.1", simple_image("web 1.27.1"))
    fake.add("api", "1", simple_image("api moved"))
    asked = len(fake.asked("GET", PULLED))
    gap.online("lock", path, "--only", f"{fake.host}/api")
    assert names(gap)[:2] == of("1.27.0", "1.26.1")
    assert len(fake.asked("GET", f"web{PULLED}")) <= asked
    gap.online("lock", path, "--only", f"{fake.host}/web")
    assert names(gap)[:2] == of("1.27.1", "1.27.0")


def test_another_rule_does_not_fit_the_lock(gap: Gap, fake: FakeRegistry) -> None:
    gap.online("lock", listing(gap, fake))
    path = listing(gap, fake, '{semver: ">=1.26", latest: 1}')
    assert "belongs to another manifest" in gap.online("plan", path, code=10).err
    gap.online("lock", path)
    assert names(gap) == of("2.0.0")


def test_a_rule_beside_an_image_of_the_same_repository(gap: Gap, fake: FakeRegistry) -> None:
    same = f"{{ref: {fake.host}/web:1.27.0, as: plant.example/web:1.27.0}}"
    gap.online("lock", listing(gap, fake, RULE, same))
    assert names(gap) == of("1.27.0", "1.26.1")


def linked(tags: list[str], link: str) -> dict[str, object]:
    return {
        "path": PULLED, "status": 200, "body": json.dumps({"name": "web", "tags": tags}).encode(),
        "headers": {"link": f'<{link}>; rel="next"'},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (linked(["1.26.0"], "/v2/web/tags/list?n=1"), "too many pages"),
        (linked(["1.26.0"], "https://other.example/v2/web/tags/list"), "the next page is on another host"),
        (linked(["1.26.0"], "file:///etc/passwd"), "the registry points to an unusable address"),
        (linked(["9" * 100] * 60_000, "/v2/web/tags/list?n=1"), "answer too large"),
        (linked(["1.2"] * 60_000, "/v2/web/tags/list?n=1"), "too many entries"),
        ({"path": PULLED, "body": b'{"tags": {"1.26.0": 1}}'}, "not a list of tags"),
        ({"path": PULLED, "body": b'{"tags": null}'}, "the rule selects none of the tags"),
        ({"path": PULLED, "body": b'{"tags": ["1.26.0/../../evil", "1.26.0 "]}'}, "the rule selects none of"),
        ({"path": PULLED, "status": 404}, "not found"),
        ({"path": PULLED, "status": 401}, "access denied"),
    ],
)
def test_a_list_of_tags_that_is_refused(
    gap: Gap, fake: FakeRegistry, fault: dict[str, object], message: str
) -> None:
    fake.fault(**fault)
    done = gap.online("lock", listing(gap, fake), code=18)
    assert message in done.err
    assert not (gap.folder / "stack.lock.yaml").exists()
