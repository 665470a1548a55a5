import base64
import json
from pathlib import Path

import pytest

from airgap.endpoints.docker.logins import DockerLogins
from airgap.endpoints.logins import Credentials
from airgap.errors import EndpointError
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import IMAGE, client, filled, named

ALICE = Credentials("alice", "s3cret")


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


ENTRY = {"auth": encoded("alice", "s3cret")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Docker looks for its config, and where helpers are found first."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def write(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def helper(folder: Path, body: str, name: str = "fake") -> None:
    """A credential helper that notes what it was asked for in `asked`."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\nread host\necho \"$1 $host\" >> '{folder}/asked'\n{body}\n")
    path.chmod(0o755)


def answer(user: str, secret: str) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"


@pytest.mark.parametrize(
    ("config", "host", "login"),
    [
        ({"auths": {"r.example:5000": ENTRY}}, "r.example:5000", ALICE),
        ({"auths": {"https://r.example/v2/": ENTRY}}, "r.example", ALICE),
        ({"auths": {"https://index.docker.io/v1/": ENTRY}}, "docker.io", ALICE),
        ({"auths": {"r.example": ENTRY}}, "other.example", None),
        ({"auths": {"r.example": {"auth": encoded("a", "with:colon")}}}, "r.example", Credentials("a", "with:colon")),
        ({"auths": {"r.example": {**ENTRY, "identitytoken": "idt"}}}, "r.example",
         Credentials("", identity_token="idt")),
        ({"auths": {"r.example": {}}}, "r.example", None),
        ({}, "r.example", None),
        ({"HttpHeaders": {"a": "b"}}, "r.example", None),
    ],
)  # fmt: skip
def test_logins_in_the_file(folder: Path, config: object, host: str, login: Credentials | None) -> None:
    write(folder, config)
    assert DockerLogins().get(host) == login


def test_no_config_at_all(folder: Path) -> None:
    assert DockerLogins().get("r.example") is None
    assert not list(folder.iterdir())


def test_a_config_elsewhere(folder: Path) -> None:
    write(folder, {"auths": {"r.example": ENTRY}})
    (folder / "config.json").rename(folder / "mine.json")
    assert DockerLogins().get("r.example") is None
    assert DockerLogins(folder / "mine.json").get("r.example") == ALICE


@pytest.mark.parametrize(
    ("config", "host", "asked"),
    [
        ({"credsStore": "fake"}, "r.example", "get r.example"),
        ({"credsStore": "fake"}, "docker.io", "get https://index.docker.io/v1/"),
        ({"credHelpers": {"r.example:5000": "fake"}}, "r.example:5000", "get r.example:5000"),
        ({"credHelpers": {"r.example": "fake"}, "credsStore": "none"}, "r.example", "get r.example"),
    ],
)
def test_credential_helpers(folder: Path, config: object, host: str, asked: str) -> None:
    write(folder, config)
    helper(folder, answer("alice", "s3cret"))
    assert DockerLogins().get(host) == ALICE
    assert (folder / "asked").read_text().strip() == asked


def test_a_helper_with_an_identity_token(folder: Path) -> None:
    write(folder, {"credsStore": "fake"})
    helper(folder, answer("<token>", "idt"))
    assert DockerLogins().get("r.example") == Credentials("", identity_token="idt")


def test_a_helper_that_has_none_leaves_it_to_the_file(folder: Path) -> None:
    write(folder, {"credsStore": "fake", "auths": {"r.example": ENTRY}})
    helper(folder, "echo 'credentials not found in native keychain'; exit 1")
    assert DockerLogins().get("r.example") == ALICE
    assert DockerLogins().get("other.example") is None


@pytest.mark.parametrize(
    "body",
    [
        "echo s3cret; exit 1", "echo s3cret", "echo '{}'", "echo '[]'", "echo '{\"Username\":\"s3cret\"}'",
        "printf '\\377'", "true",
    ],
)  # fmt: skip
def test_a_broken_helper(folder: Path, body: str) -> None:
    write(folder, {"credsStore": "fake"})
    helper(folder, body)
    with pytest.raises(
        EndpointError, match=r"cannot read the registry logins of Docker: r\.example"
    ) as caught:
        DockerLogins().get("r.example")
    assert "s3cret" not in str(caught.value)


def test_a_helper_that_is_not_installed(folder: Path) -> None:
    write(folder, {"credsStore": "desktop"})
    with pytest.raises(EndpointError, match="want docker-credential-desktop on PATH") as caught:
        DockerLogins().get("r.example")
    assert "credsStore" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "config",
    [
        {"auths": {"r.example": {"auth": "%%%"}}},
        {"auths": {"r.example": {"auth": base64.b64encode(b"s3cret").decode()}}},
        {"auths": {"r.example": {"auth": base64.b64encode(b"\xff:s3cret").decode()}}},
        {"auths": {"r.example": {"auth": 7}}},
        {"auths": {"r.example": "s3cret"}},
        {"auths": ["r.example"]},
        {"credHelpers": ["fake"]},
        ["s3cret"],
    ],
)
def test_a_broken_config(folder: Path, config: object) -> None:
    write(folder, config)
    with pytest.raises(EndpointError, match="cannot read the registry logins") as caught:
        DockerLogins().get("r.example")
    assert "s3cret" not in str(caught.value)


def test_a_registry_login_end_to_end(folder: Path) -> None:
    with filled(FakeRegistry()) as fake:
        fake.require_bearer({"alice": "s3cret"})
        write(folder, {"auths": {fake.host: ENTRY}})
        assert client(fake, credentials=DockerLogins()).resolve(named(fake)).digest == IMAGE.descriptor.digest
