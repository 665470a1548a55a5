"""Which engine `docker` is, as the docker CLI finds it, and what is said when it does not answer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airgap.endpoints.docker.context import docker_address, parse_address, podman_host
from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import EndpointError, UnavailableError
from tests.support.daemon import Daemon
from tests.world.table import Kind, Row, replays, row


def engine_row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.LOGINS, who, does, reported, answer)


def context(
    folder: Path, name: str, host: str, *, skip: bool = False, tls: Mapping[str, str] | None = None
) -> None:
    """What `docker context create` leaves in Docker's folder."""
    place = hashlib.sha256(name.encode()).hexdigest()
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}}}
    write(folder / "contexts" / "meta" / place / "meta.json", json.dumps(meta))
    for file, content in (tls or {}).items():
        write(folder / "contexts" / "tls" / place / "docker" / file, content)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The variables, the current context, and the address that comes of them."""

    environ: Mapping[str, str]
    address: str
    current: str = ""
    config: str = ""


DEFAULT = "unix:///var/run/docker.sock"
CHOSEN = {
    "none": (
        engine_row("docker CLI", "uses /var/run/docker.sock by default", "measured", "does the same"),
        Chosen({}, DEFAULT),
    ),
    "current": (
        engine_row("docker CLI, Docker Desktop, Colima", "use the context that `docker context use` chose",
                   "docker/docker-py#3146", "uses it too, and prints and records its name"),
        Chosen({}, "unix:///run/a.sock (context a)", current="a"),
    ),
    "variable": (
        engine_row("docker CLI", "takes DOCKER_CONTEXT before the current context", "docker/docker-py#3401", "does the same"),
        Chosen({"DOCKER_CONTEXT": "b"}, "ssh://me@plant:2222 (context b)", current="a"),
    ),
    "host": (
        engine_row("docker CLI 20.10 to 28", "takes DOCKER_HOST before all contexts", "docker/cli#1809", "does the same"),
        Chosen({"DOCKER_HOST": "unix:///run/h.sock", "DOCKER_CONTEXT": "b"}, "unix:///run/h.sock (DOCKER_HOST)", current="a"),
    ),
    "default context": (
        engine_row("docker CLI", "means the local engine by the context `default`", "measured", "does the same"),
        Chosen({"DOCKER_CONTEXT": "default"}, DEFAULT, current="a"),
    ),
    "empty": (
        engine_row("docker CLI 28", "takes empty variables as if they were not set", "measured", "does the same"),
        Chosen({"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}, "unix:///run/a.sock (context a)", current="a"),
    ),
    "unrelated entry": (
        engine_row("docker CLI 28", "warns of an entry in `auths` that it cannot read, and keeps the context", "measured",
                   "does not look at logins to find the engine"),
        Chosen({}, "unix:///run/a.sock (context a)", config='{"currentContext": "a", "auths": {"r.example": {"auth": "%"}}}'),
    ),
    "capitals": (
        engine_row("docker CLI", "reads `CURRENTCONTEXT` as `currentContext`", "measured", "does the same"),
        Chosen({}, "unix:///run/a.sock (context a)", config='{"CURRENTCONTEXT": "a"}'),
    ),
    "skip": (
        engine_row("docker context create", "can switch off the check of the certificate", "measured",
                   "does the same, and shows it wherever it names the engine"),
        Chosen({"DOCKER_CONTEXT": "skip"}, "tcp://10.0.0.9:2376, its certificate is not checked (context skip)"),
    ),
}  # fmt: skip


@replays(CHOSEN)
def test_which_engine_it_is(tmp_path: Path, case: Chosen) -> None:
    context(tmp_path, "a", "unix:///run/a.sock")
    context(tmp_path, "b", "ssh://me@plant:2222")
    context(tmp_path, "skip", "tcp://10.0.0.9:2376", skip=True)
    write(tmp_path / "config.json", case.config or json.dumps({"currentContext": case.current}))
    assert str(docker_address({"DOCKER_CONFIG": str(tmp_path), **case.environ})) == case.address


REFUSED: dict[str, tuple[Row, tuple[dict[str, str], str, str]]] = {
    "no such context": (
        engine_row("docker CLI 20.10 to 28", "fails for a context that is not there", "measured",
                   "also fails, and names the context and what selected it"),
        ({"DOCKER_CONTEXT": "gone"}, '{"currentContext": "a"}', "no such docker context: gone .named by DOCKER_CONTEXT"),
    ),
    "current is gone": (
        engine_row("docker CLI 20.10", "fails when the current context was removed", "measured",
                   "also fails: another engine is never used instead"),
        ({}, '{"currentContext": "gone"}', "no such docker context: gone .named by currentContext in"),
    ),
    "not JSON": (
        engine_row("docker CLI", "warns of a config.json that is not JSON, and uses the default engine", "measured",
                   "fails: it is not known which engine is meant"),
        ({}, '{"currentContext": "a"', "cannot tell which docker context is in use"),
    ),
    "broken context": (
        engine_row("docker CLI", "fails for a context without an endpoint", "measured", "also fails, and names the file"),
        ({"DOCKER_CONTEXT": "broken"}, "{}", "cannot read the docker context"),
    ),
}  # fmt: skip


@replays(REFUSED)
def test_no_other_engine_is_taken_instead(tmp_path: Path, case: tuple[dict[str, str], str, str]) -> None:
    environ, config, words = case
    context(tmp_path, "a", "unix:///run/a.sock")
    place = hashlib.sha256(b"broken").hexdigest()
    write(tmp_path / "contexts" / "meta" / place / "meta.json", '{"Name": "broken", "Endpoints": {}}')
    write(tmp_path / "config.json", config)
    with Daemon(tmp_path) as daemon:
        found = DockerEngine(environ={"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path), **environ})
        with pytest.raises(EndpointError, match=words) as caught:
            found.info()
        assert not isinstance(caught.value, UnavailableError)
        assert daemon.calls == []


FORMS = {
    "no port": (
        engine_row("docker CLI", "takes port 2375 for `tcp://HOST`", "Tecnativa/docker-socket-proxy#26", "does the same"),
        ("tcp://localhost", "tcp://localhost:2375"),
    ),
    "no scheme": (
        engine_row("docker CLI", "takes `HOST:PORT` for a tcp address", "measured", "does the same"),
        ("127.0.0.1:2376", "tcp://127.0.0.1:2376"),
    ),
    "no host": (
        engine_row("docker CLI", "takes `:PORT` and `tcp://` for localhost", "measured", "does the same"),
        (":2376", "tcp://localhost:2376"),
    ),
    "unix alone": (
        engine_row("docker CLI", "takes `unix://` for the usual socket", "measured", "does the same"),
        ("unix://", DEFAULT),
    ),
    "blanks": (
        engine_row("docker CLI", "ignores blanks around DOCKER_HOST", "measured", "does the same"),
        (" unix:///run/x.sock ", "unix:///run/x.sock"),
    ),
    "prefix": (
        engine_row("docker CLI", "asks below the path of a tcp address", "measured", "does the same"),
        ("tcp://10.0.0.9:2375/engine/", "tcp://10.0.0.9:2375/engine"),
    ),
    "IPv6": (
        engine_row("dockerd", "listens on IPv6 addresses in brackets", "measured", "takes them, with or without a port"),
        ("tcp://[::1]", "tcp://[::1]:2375"),
    ),
    "socket over ssh": (
        engine_row("docker CLI 24", "takes the path of a socket in `ssh://HOST/SOCKET`", "docker/cli#4073", "does the same"),
        ("ssh://me@plant:22/run/user/7/docker.sock", "ssh://me@plant:22/run/user/7/docker.sock"),
    ),
}  # fmt: skip


@replays(FORMS)
def test_forms_of_addresses(case: tuple[str, str]) -> None:
    assert parse_address(case[0]) == case[1]


WRONG = {
    "https": (
        engine_row("docker CLI", "refuses `https://` in DOCKER_HOST", "microsoft/vscode-docker#2540", "says to write tcp://"),
        ("https://192.168.1.12:2375", "write tcp://"),
    ),
    "a path": (
        engine_row("docker CLI", "takes `/run/x.sock` for a path on localhost", "measured", "says `unix:///run/x.sock`"),
        ("/run/x.sock", "did you mean unix:///run/x.sock?"),
    ),
    "one slash": (
        engine_row("docker CLI", "looks up a host called unix for `unix:/run/x.sock`", "measured", "says `unix:///run/x.sock`"),
        ("unix:/run/x.sock", "did you mean unix:///run/x.sock?"),
    ),
    "npipe": (
        engine_row("docker CLI on Linux", "crashes on `npipe://`", "measured", "reports that only Windows has it"),
        ("npipe:////./pipe/docker_engine", "on Windows only"),
    ),
    "fd": (
        engine_row("docker CLI", "crashes on `fd://`, which is for dockerd", "measured", "says so"),
        ("fd://", "is for dockerd"),
    ),
    "login": (
        engine_row("docker CLI", "ignores a login in a tcp address", "measured", "refuses it without repeating it"),
        ("tcp://me:s3cret@10.0.0.9:2375", "identifies clients by certificate"),
    ),
    "password over ssh": (
        engine_row("docker CLI", "refuses a password in an ssh address", "measured", "refuses it without repeating it"),
        ("ssh://me:s3cret@plant", "SSH logs in with a key, not a password"),
    ),
}  # fmt: skip


@replays(WRONG)
def test_addresses_that_are_refused(case: tuple[str, str]) -> None:
    with pytest.raises(EndpointError, match="not the address of an engine: DOCKER_HOST") as caught:
        parse_address(case[0], "DOCKER_HOST")
    assert case[1] in (caught.value.hint or "")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is below the home folder, where the runtime folder is, and the hint."""

    there: tuple[str, ...]
    hint: str
    environ: Mapping[str, str] = field(default_factory=dict)


SOCKETS = {
    "rootless": (
        engine_row("docker CLI", "does not use the socket of a rootless engine by itself", "docker/cli#2860",
                   "does not either, and names the socket if no engine answers"),
        Sockets(("run/docker.sock",), "unix://{home}/run/docker.sock", {"XDG_RUNTIME_DIR": "{home}/run"}),
    ),
    "desktop": (
        engine_row("Docker Desktop", "listens at ~/.docker/run/docker.sock", "docker/docker-py#3146",
                   "names it if the engine does not answer"),
        Sockets((".docker/run/docker.sock",), "unix://{home}/.docker/run/docker.sock"),
    ),
    "podman": (
        engine_row("podman", "listens at $XDG_RUNTIME_DIR/podman/podman.sock", "podman-system-service(1)",
                   "names it if docker does not answer"),
        Sockets(("run/podman/podman.sock",), "unix://{home}/run/podman/podman.sock", {"XDG_RUNTIME_DIR": "{home}/run"}),
    ),
}  # fmt: skip


@replays(SOCKETS)
def test_other_sockets_are_named_and_not_used(tmp_path: Path, case: Sockets) -> None:
    for name in case.there:
        write(tmp_path / name, "")
    environ = {key: value.replace("{home}", str(tmp_path)) for key, value in case.environ.items()}
    found = DockerEngine(f"docker:unix://{tmp_path}/none.sock", environ={"HOME": str(tmp_path), **environ})
    with pytest.raises(UnavailableError, match="the engine does not answer") as caught:
        found.info()
    assert case.hint.replace("{home}", str(tmp_path)) in (caught.value.hint or "")


@row(
    Kind.LOGINS, "podman", "uses the connection that CONTAINER_CONNECTION names", "podman-remote(1)",
    "fails, and advises to set CONTAINER_HOST: the images would go into another engine",
)  # fmt: skip
def test_podman_connections_are_not_guessed() -> None:
    with pytest.raises(EndpointError, match="CONTAINER_CONNECTION=build") as caught:
        podman_host({"CONTAINER_CONNECTION": "build"})
    assert "CONTAINER_HOST" in (caught.value.hint or "")
    assert podman_host({"CONTAINER_CONNECTION": "build", "CONTAINER_HOST": "ssh://a@b/s"}) == "ssh://a@b/s"


@row(
    Kind.LOGINS, "docker", "may be several engines on one machine, by context and variables",
    "testcontainers/testcontainers-python#1069", "shows product, version, machine, address and what named it",
)  # fmt: skip
def test_the_engine_is_named(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.info["Name"] = "build-1"
        context(tmp_path, "plant", daemon.host)
        environ: dict[str, Any] = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "plant"}
        found = DockerEngine(environ=environ)
        assert str(found.info()) == f"Docker 28.5.2 on build-1, {daemon.host} (context plant)"
