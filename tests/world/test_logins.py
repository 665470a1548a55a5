"""Where logins for registries are found, and what a broken one does."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airgap.endpoints.docker.context import docker_address
from airgap.endpoints.docker.logins import DockerLogins
from airgap.endpoints.logins import Credentials, HelperError
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import AccessDeniedError, EndpointError
from airgap.oci.reference import ImageReference
from tests.support.registry import FakeRegistry, basic
from tests.unit.endpoints.registry_support import IMAGE, filled, named
from tests.world.table import Kind, Row, replays, row

ALICE = Credentials("alice", "s3cret")
HUB = "https://index.docker.io/v1/"


def auth(user: str = "alice", password: str = "s3cret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def logins(home: Path, **environ: str) -> DockerLogins:
    """Those of a user with this home folder, whose programs are in it."""
    return DockerLogins(
        environ={"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", **environ}, helper_seconds=5
    )


def write(path: Path, config: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))


def helper(home: Path, body: str, name: str = "keeper") -> None:
    path = home / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\nread host\necho \"$host\" >> '{home}/asked'\n{body}\n")
    path.chmod(0o755)


def logins_row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.LOGINS, who, does, reported, answer)


@dataclass(frozen=True, slots=True)
class Found:
    """Files below the home folder, and the login that is found for a place."""

    files: Mapping[str, Any]
    place: str = "r.example"
    login: Credentials | None = ALICE
    environ: Mapping[str, str] = field(default_factory=dict)


DOCKER = ".docker/config.json"
FOUND = {
    "plain user": (
        logins_row("docker CLI", "reads `username` and `password` in config.json where there is no `auth`",
                   "keirlawson/docker_credential#24", "logs in with them"),
        Found({DOCKER: {"auths": {"r.example": {"username": "alice", "password": "s3cret"}}}}),
    ),
    "identity token": (
        logins_row("Docker Trusted Registry, Azure", "leave an `identitytoken` in config.json",
                   "docker/docker-py#1210", "asks the token service with it"),
        Found({DOCKER: {"auths": {"r.example": {"identitytoken": "idt"}}}}, login=Credentials("", identity_token="idt")),
    ),
    "registry token": (
        logins_row("docker CLI", "keeps a `registrytoken`, which the registry itself takes",
                   "docker/cli, cli/config/types/authconfig.go", "sends it to that registry as a bearer token"),
        Found({DOCKER: {"auths": {"r.example": {"registrytoken": "rt"}}}}, login=Credentials("", registry_token="rt")),
    ),
    "hub": (
        logins_row("docker login", "calls Docker Hub `https://index.docker.io/v1/`",
                   "docker/cli#6008", "is the login for docker.io"),
        Found({DOCKER: {"auths": {HUB: auth()}}}, "docker.io"),
    ),
    "hub by podman": (
        logins_row("podman login", "calls Docker Hub `docker.io`", "containers-auth.json(5)",
                   "is the login for docker.io"),
        Found({".config/containers/auth.json": {"auths": {"docker.io": auth()}}}, "docker.io"),
    ),
    "old spelling": (
        logins_row("docker CLI", "takes keys with a scheme and a path for the host in them",
                   "docker/cli, cli/config/credentials/file_store.go", "does the same"),
        Found({DOCKER: {"auths": {"https://r.example/v2/": auth()}}}),
    ),
    "empty entry": (
        logins_row("Docker Desktop 2.0", "leaves `{}` for a login that a helper keeps",
                   "google/containerregistry#144", "is not a login"),
        Found({DOCKER: {"auths": {"r.example": {}}}}, login=None),
    ),
    "other capitals": (
        logins_row("docker CLI", "reads keys of config.json in any case, so that `Auths` works",
                   "measured", "reads them in any case"),
        Found({DOCKER: {"Auths": {"r.example": auth()}}}),
    ),
    "unrelated": (
        logins_row("docker CLI 20.10 to 28", "drops all logins for one entry that is not base64",
                   "measured", "an entry applies only to its own registry"),
        Found({DOCKER: {"auths": {"other.example": {"auth": "%%"}, "r.example": auth()}}}),
    ),
    "unrelated helper": (
        logins_row("docker CLI", "asks a helper in `credHelpers` for its registry only",
                   "docker/docker-credential-helpers#217", "does the same, so that a missing one concerns no other registry"),
        Found({DOCKER: {"credHelpers": {"gcr.io": "missing"}, "auths": {"r.example": auth()}}}),
    ),
    "environment": (
        logins_row("docker CLI 28.3", "takes the content of config.json from DOCKER_AUTH_CONFIG, before the file",
                   "docker/cli#6008", "does the same"),
        Found({DOCKER: {"auths": {"r.example": auth("bob")}}},
              environ={"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"r.example": auth()}})}),
    ),
    "environment falls back": (
        logins_row("docker CLI 28.3", "looks in the file for what DOCKER_AUTH_CONFIG does not have",
                   "docker/cli, cli/config/configfile/file.go", "does the same"),
        Found({DOCKER: {"auths": {"r.example": auth()}}},
              environ={"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"other.example": auth()}})}),
    ),
    "runtime": (
        logins_row("podman, skopeo, buildah", "keep logins in $XDG_RUNTIME_DIR/containers/auth.json",
                   "openshift/oc-mirror#216", "finds them there"),
        Found({"run/containers/auth.json": {"auths": {"r.example": auth()}}}, environ={"XDG_RUNTIME_DIR": "{home}/run"}),
    ),
    "authfile": (
        logins_row("podman, skopeo", "read the file that REGISTRY_AUTH_FILE names before all others",
                   "google/go-containerregistry#1914", "does the same"),
        Found({"my.json": {"auths": {"r.example": auth()}}, DOCKER: {"auths": {"r.example": auth("bob")}}},
              environ={"REGISTRY_AUTH_FILE": "{home}/my.json"}),
    ),
    "settings": (
        logins_row("podman", "reads $XDG_CONFIG_HOME/containers/auth.json, which outlives a reboot",
                   "podman-container-tools/podman#12706", "finds them there"),
        Found({"xdg/containers/auth.json": {"auths": {"r.example": auth()}}}, environ={"XDG_CONFIG_HOME": "{home}/xdg"}),
    ),
    "home settings": (
        logins_row("podman", "reads ~/.config/containers/auth.json where XDG_CONFIG_HOME is not set",
                   "google/go-containerregistry#2379", "finds them there"),
        Found({".config/containers/auth.json": {"auths": {"r.example": auth()}}}),
    ),
    "dockercfg": (
        logins_row("podman, skopeo", "read ~/.dockercfg, without `auths`, last", "containers-auth.json(5)", "does the same"),
        Found({".dockercfg": {"https://r.example": auth()}}),
    ),
    "namespace": (
        logins_row("podman login quay.io/org", "keeps a login for a part of a registry's repositories",
                   "containers-auth.json(5)", "takes the longest name that fits"),
        Found({DOCKER: {"auths": {"quay.io": auth("bob"), "quay.io/org": auth(), "quay.io/or": auth("eve")}}}, "quay.io/org/app"),
    ),
    "other namespace": (
        logins_row("podman login quay.io/org", "gives other repositories the login of the registry",
                   "containers-auth.json(5)", "does the same"),
        Found({DOCKER: {"auths": {"quay.io": auth(), "quay.io/org": auth("bob")}}}, "quay.io/organ/app"),
    ),
    "no namespace": (
        logins_row("podman login quay.io/org", "is not a login for other repositories", "containers-auth.json(5)",
                   "asks for them without a login"),
        Found({DOCKER: {"auths": {"quay.io/org": auth("bob")}}}, "quay.io/other/app", login=None),
    ),
    "ports": (
        logins_row("docker login", "keeps logins for each port", "docker/cli, cli/config/credentials/file_store.go",
                   "does not give a login to another port"),
        Found({DOCKER: {"auths": {"r.example:5000": auth()}}}, login=None),
    ),
}  # fmt: skip


@replays(FOUND)
def test_where_a_login_is_found(tmp_path: Path, case: Found) -> None:
    for name, config in case.files.items():
        write(tmp_path / name, config)
    environ = {key: value.replace("{home}", str(tmp_path)) for key, value in case.environ.items()}
    found = logins(tmp_path, **environ)
    host, _, repository = case.place.partition("/")
    assert found.get(found.narrowest_name(host, repository) if repository else host) == case.login


BROKEN = {
    "not JSON": (
        logins_row("docker CLI 20.10 to 28", "continues without a login when config.json is not JSON", "measured",
                   "reports it, with the file and the line"),
        ('{"auths": {\n', "not JSON (line 2)"),
    ),
    "a list": (
        logins_row("docker CLI 20.10 to 28", "continues without a login when `auths` is not an object", "measured",
                   "reports it, with the file"),
        ('{"auths": []}', "an object as auths"),
    ),
    "not base64": (
        logins_row("docker CLI 28", "continues without any login when an `auth` is not base64", "measured",
                   "reports it for that registry, without the secret"),
        ('{"auths": {"r.example": {"auth": "alice:s3cret"}}}', "in base64"),
    ),
}  # fmt: skip


@replays(BROKEN)
def test_unreadable_files_are_reported(tmp_path: Path, case: tuple[str, str]) -> None:
    write(tmp_path / DOCKER, case[0])
    with pytest.raises(EndpointError) as caught:
        logins(tmp_path).get("r.example")
    assert not isinstance(caught.value, HelperError)
    assert case[1] in str(caught.value)
    assert str(tmp_path / DOCKER) in str(caught.value)
    assert "s3cret" not in str(caught.value)


HELPERS = {
    "not there": (
        logins_row("Docker Desktop, WSL", "leaves `credsStore: desktop` without the program",
                   "docker/for-mac#3785", "asks without a login, and names the program if that is refused"),
        (None, "docker-credential-keeper on PATH"),
    ),
    "not running": (
        logins_row("docker-credential-desktop", "fails when Docker Desktop is not running", "oras-project/oras#743",
                   "asks without a login, and names the program if that is refused"),
        ("echo s3cret; exit 1", "exit status 1"),
    ),
    "hangs": (
        logins_row("docker-credential-pass", "waits for a passphrase that is never typed",
                   "docker/docker-credential-helpers#185", "stops waiting, and reports it"),
        ("sleep 60 & sleep 60", "no answer in 1 seconds"),
    ),
    "says nothing": (
        logins_row("docker-credential-pass", "ends well without a word when its key is missing",
                   "docker/docker-credential-helpers#327", "reports that there was no answer"),
        ("true", "got no answer"),
    ),
}  # fmt: skip


@replays(HELPERS)
def test_a_helper_that_fails(tmp_path: Path, case: tuple[str | None, str]) -> None:
    write(tmp_path / DOCKER, {"credsStore": "keeper"})
    if case[0] is not None:
        helper(tmp_path, case[0])
    environ = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    store = DockerLogins(environ=environ, helper_seconds=1)
    with filled(FakeRegistry()) as fake:
        fake.require_bearer(anonymous=True)
        options = RegistryOptions(credentials=store, retries=0)
        assert Registry(fake.host, options=options).resolve(named(fake)).digest == IMAGE.descriptor.digest
    with filled(FakeRegistry()) as fake:
        fake.require_basic("alice", "s3cret")
        with pytest.raises(AccessDeniedError) as caught:
            Registry(fake.host, options=options).resolve(named(fake))
    assert case[1] in (caught.value.hint or "")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@row(
    Kind.LOGINS, "docker-credential-osxkeychain, ecr-login",
    "end with 1 and `credentials not found in native keychain` where there is no login",
    "google/go-containerregistry#156", "asks without a login",
)  # fmt: skip
def test_a_helper_that_has_none(tmp_path: Path) -> None:
    write(tmp_path / DOCKER, {"credsStore": "keeper"})
    helper(tmp_path, "echo ' credentials not found in native keychain '; exit 1")
    assert logins(tmp_path).get("r.example") is None


@row(
    Kind.LOGINS, "docker CLI", "calls Docker Hub by its old address when it asks a helper",
    "Deepomatic/dmake#54", "does the same",
)  # fmt: skip
def test_what_a_helper_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / DOCKER, {"credsStore": "keeper"})
    helper(tmp_path, """echo '{"ServerURL": "x", "Username": "alice", "Secret": "s3cret"}'""")
    found = logins(tmp_path)
    assert found.get("docker.io") == found.get("docker.io") == ALICE
    assert (tmp_path / "asked").read_text() == f"{HUB}\n"


@row(
    Kind.LOGINS, "podman login", "keeps two logins for one registry", "containers-auth.json(5)",
    "shows each to its own repositories only",
)  # fmt: skip
def test_two_logins_at_one_registry(tmp_path: Path) -> None:
    with filled(FakeRegistry()) as fake:
        fake.add("other/api", "1.0", IMAGE)
        fake.require_basic("alice", "s3cret")
        entries = {f"{fake.host}/acme": auth(), fake.host: auth("bob", "0ther")}
        write(tmp_path / DOCKER, {"auths": entries})
        registry = Registry(fake.host, options=RegistryOptions(credentials=logins(tmp_path)))
        assert registry.resolve(named(fake)).digest == IMAGE.descriptor.digest
        with pytest.raises(AccessDeniedError) as caught:
            registry.resolve(ImageReference.parse(f"{fake.host}/other/api:1.0"))
        assert f"the login came from {tmp_path / DOCKER}" in (caught.value.hint or "")
        assert "0ther" not in f"{caught.value} {caught.value.hint}"
        sent = {(r.path.split("/")[2], r.headers.get("authorization")) for r in fake.requests}
    assert sent == {
        ("acme", None), ("acme", basic("alice", "s3cret")),
        ("other", None), ("other", basic("bob", "0ther")),
    }  # fmt: skip


@row(
    Kind.LOGINS, "sudo docker login", "leaves a config.json that its user cannot read; docker then warns and continues",
    "moby/moby#40175", "asks without a login, and names the file if that is refused",
)  # fmt: skip
def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / DOCKER, {"auths": {"r.example": auth()}})
    write(tmp_path / ".config/containers/auth.json", {"auths": {"other.example": auth()}})
    opened = Path.open

    def refuse(path: Path, *words: Any) -> Any:
        if path == tmp_path / DOCKER:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *words)

    monkeypatch.setattr(Path, "open", refuse)
    found = logins(tmp_path)
    assert found.get("other.example") == ALICE
    with pytest.raises(HelperError, match="Permission denied") as caught:
        found.get("r.example")
    assert "chown" in (caught.value.hint or "")
    environ = {"HOME": str(tmp_path)}
    said = f"unix:///var/run/docker.sock ({tmp_path / DOCKER} belongs to another user)"
    assert str(docker_address(environ)) == said
