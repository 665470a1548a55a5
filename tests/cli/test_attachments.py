"""What is said of attachments that are unknown: by lock, plan and pack, in the lock file and in the ledger."""

import json
import socket
from collections.abc import Iterator

import pytest
import yaml

from tests.cli.conftest import Gap
from tests.support.attachments import attach
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

API, WEB = simple_image("api"), simple_image("web")
REASON = "referrers API: access denied, got HTTP 401"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)  # no waiting between tries
    with FakeRegistry() as registry:
        registry.add("api", "1", API)
        registry.add("web", "1", WEB)
        yield registry


def unknown(fake: FakeRegistry, *names: str) -> list[dict[str, str]]:
    return [{"reference": f"{fake.host}/{name}:1", "reason": REASON} for name in names]


def test_lock_plan_and_pack_say_what_is_unknown(gap: Gap, fake: FakeRegistry) -> None:
    fake.fault(path="/referrers/", status=401, body=b"")
    path = gap.manifest(f"{fake.host}/api:1", f"{fake.host}/web:1")
    line = f"attachments unknown: {fake.host}/api:1, {fake.host}/web:1: {REASON}"
    assert line in gap.online("lock", path).out.splitlines()
    assert gap.online("lock", path, "--json").json["attachments_unknown"] == unknown(fake, "api", "web")
    locked = yaml.safe_load((gap.folder / "stack.lock.yaml").read_text())["images"]
    assert [image["attachments_unknown"] for image in locked] == [REASON, REASON]
    assert line in gap.online("plan", path).out.splitlines()
    assert gap.online("plan", path, "--json").json["attachments_unknown"] == unknown(fake, "api", "web")
    done = gap.online("pack", path, "--to", gap.stick)
    assert line in done.out.splitlines()
    assert gap.online.records()[-1]["attachments_unknown"] == unknown(fake, "api", "web")
    again = gap.online("pack", path, "--to", gap.stick, "--json").json
    assert (again["attachments_unknown"], again["fresh"]) == (unknown(fake, "api", "web"), False)
    gap.offline("verify", gap.stick / "stack-0001")


def test_without_a_lock(gap: Gap, fake: FakeRegistry) -> None:
    fake.fault(path="/web/referrers/", status=401, body=b"")
    path = gap.manifest(f"{fake.host}/api:1", f"{fake.host}/web:1")
    assert gap.online("pack", path, "--to", gap.stick, "--json").json["attachments_unknown"] == unknown(
        fake, "web"
    )


def test_nothing_is_said_where_all_is_known(gap: Gap, fake: FakeRegistry) -> None:
    path = gap.manifest(f"{fake.host}/api:1")
    for command in (("lock", path), ("plan", path), ("pack", path, "--to", gap.stick)):
        assert "attachments" not in gap.online(*command).out
    assert "attachments_unknown" not in gap.online.records()[-1]
    assert "attachments" not in (gap.folder / "stack.lock.yaml").read_text()


@pytest.mark.parametrize("demand", ["attachments: required", "cosign-key: cosign.pub"])
def test_a_demand_is_refused(gap: Gap, fake: FakeRegistry, demand: str) -> None:
    fake.fault(path="/referrers/", status=401, body=b"")
    path = gap.manifest(f"{{ref: '{fake.host}/api:1', {demand}}}")
    for command in (("lock", path), ("plan", path), ("pack", path, "--to", gap.stick)):
        err = gap.online(*command, code=18).err
        assert f"error: attachments are unknown: {fake.host}/api:1, got {REASON}\n" in err
        assert "hint: `cosign-key:`, `cosign-identity:` and `attachments: required` need an answer" in err
    assert not list(gap.folder.rglob("bundle.dsse.json"))


def test_an_attachment_that_breaks_is_left_out(gap: Gap, fake: FakeRegistry) -> None:
    thing = attach(fake, "api", API, "tag")
    fake.fault(path=f"/blobs/{thing.layers[0]}", status=404)
    path = gap.manifest(f"{fake.host}/api:1")
    gap.online("lock", path)
    done = gap.online("pack", path, "--to", gap.stick, "--json").json
    assert [image["reference"] for image in done["images"]] == [f"{fake.host}/api:1"]
    [left_out] = done["attachments_unknown"]
    assert left_out["reference"] == f"{fake.host}/api@{thing.descriptor.digest}"
    assert left_out["reason"].startswith("not found: ")
    assert gap.online.records()[-1]["attachments_unknown"] == [left_out]
    gap.offline("verify", gap.stick / "stack-0001")


def test_an_attachment_that_breaks_where_it_is_required(gap: Gap, fake: FakeRegistry) -> None:
    thing = attach(fake, "api", API, "tag")
    fake.fault(path=f"/blobs/{thing.layers[0]}", status=404)
    path = gap.manifest(f"{fake.host}/api:1", head="attachments: required\n")
    gap.online("lock", path)
    assert "not found" in gap.online("pack", path, "--to", gap.stick, code=18).err
    assert not list(gap.folder.rglob("bundle.dsse.json"))


def test_lock_lists_all_bad_images(gap: Gap, fake: FakeRegistry) -> None:
    names = [f"{fake.host}/{name}" for name in ("api:1", "api:2", "web:3")]
    path = gap.manifest(*names)
    for command in (("lock", path), ("plan", path), ("pack", path, "--to", gap.stick)):
        err = gap.online(*command, code=3).err
        assert [line.split(": ")[1] for line in err.splitlines() if line.startswith("failed: ")] == names[1:]
        assert "error: some images failed, got 2 of 3" in err
    assert not (gap.folder / "stack.lock.yaml").exists()
    one = gap.manifest(*names[:2])
    assert f"error: not found: {names[1]}" in gap.online("lock", one, code=18).err


def test_the_user_sees_that_a_registry_asks_to_wait(
    gap: Gap, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fault(status=429, headers={"retry-after": "1"}, times=1)
    monkeypatch.setattr("airgap.endpoints.registry.session.RateLimit.wait", lambda _: None)
    err = gap.online("lock", gap.manifest(f"{fake.host}/api:1"), "--quiet").err
    assert f"{fake.host} asks us to wait 1 s (1 s of at most 3,600 s in all)\n" in err


def test_the_lock_file_says_what_is_attached_to_what(gap: Gap, fake: FakeRegistry) -> None:
    attach(fake, "api", API, "tag")
    path = gap.manifest(f"{fake.host}/api:1", head="attachments: required\n")
    gap.online("lock", path)
    image, thing = yaml.safe_load((gap.folder / "stack.lock.yaml").read_text())["images"]
    assert image["attachments"] == thing["attachments"] == "required"
    assert thing["subject"] == image["digest"] == str(API.descriptor.digest)
    plan = gap.online("plan", path, "--json").json
    assert json.dumps(plan).count(str(API.descriptor.digest)) == 1


def test_a_build_host_that_reaches_a_mirror_only(gap: Gap, fake: FakeRegistry) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        home = f"127.0.0.1:{closed.getsockname()[1]}"
        path = gap.manifest(f"{home}/api:1")
        mirror = ("--mirror", f"{home}=http://{fake.host}")
        for command in (("lock", path), ("plan", path), ("pack", path, "--to", gap.stick)):
            out = gap.online(*command, *mirror).out
            assert f"attachments unknown: {home}/api:1: list of tags" not in out
            assert f"attachments unknown: {home}/api:1: referrers API: cannot reach the registry" in out
    gap.offline("verify", gap.stick / "stack-0001")
