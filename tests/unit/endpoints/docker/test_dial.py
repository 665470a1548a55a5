"""The SDK over a dialler, against the stub of the engine: requests, streams, and no other way out."""

import socket

import pytest

from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import EndpointError, TransportError, UnavailableError
from airgap.oci.reference import ImageReference
from tests.support.daemon import Daemon

A = ImageReference.parse("t/a:1")
URL = "docker:ssh://carrier@plant"


class Wire:
    """A unix socket that tells whether it may be used again."""

    def __init__(self, path, idle: bool) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.idle = idle

    def __getattr__(self, name):
        return getattr(self._socket, name)


class Dialler:
    def __init__(self, daemon: Daemon, *, idle: bool = True) -> None:
        self.urls: list[str] = []
        self.wires: list[Wire] = []
        self._daemon = daemon
        self._idle = idle

    def __call__(self, url: str, program: str):
        assert program == "docker"
        self.urls.append(url)
        return self._dial

    def _dial(self) -> Wire:
        self.wires.append(Wire(self._daemon.socket, self._idle))
        return self.wires[-1]


def engine(dialler) -> DockerEngine:
    return DockerEngine(URL, timeout=20, ssh=dialler)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxies_are_not_asked(daemon, monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    dialler = Dialler(daemon)
    assert engine(dialler).info().version == "28.5.2"
    assert dialler.urls == ["ssh://carrier@plant"]


def test_a_connection_is_used_again(daemon):
    dialler = Dialler(daemon)
    found = engine(dialler)
    for _ in range(5):
        assert found.find(A) is None
    assert len(dialler.wires) == 1


def test_one_that_is_not_idle_is_not(daemon):
    dialler = Dialler(daemon, idle=False)
    found = engine(dialler)
    for _ in range(3):
        assert found.find(A) is None
    assert len(dialler.wires) == 4


def test_load_and_save(daemon):
    daemon.saved = [b"not a tar"]
    found = engine(Dialler(daemon))
    found.load([b"one", b"two"])
    assert daemon.received == b"onetwo"
    daemon.load_answer = b'{"errorDetail":{"message":"no space"}}'
    with pytest.raises(EndpointError, match="no space"):
        found.load([b"x"])


def test_the_stream_is_cut_when_it_breaks(daemon):
    def broken():
        yield b"x" * 100_000
        raise TransportError("broke")

    with pytest.raises(TransportError, match="broke"):
        engine(Dialler(daemon)).load(broken())
    assert daemon.broke_off.wait(120)


def test_errors_of_the_dialler_are_passed_on(daemon):
    def refuse(*_: str):
        raise TransportError("unknown host key", subject="plant")

    with pytest.raises(TransportError, match="unknown host key: plant"):
        engine(refuse).info()

    def refuse_later(*_: str):
        def dial():
            raise TransportError("cannot run", subject="docker")

        return dial

    with pytest.raises(TransportError, match="cannot run: docker"):
        engine(refuse_later).info()


def test_the_message_of_a_broken_pipe(daemon):
    def dead(*_: str):
        def dial():
            raise ConnectionError("docker: not found")

        return dial

    with pytest.raises(UnavailableError, match="docker: not found") as caught:
        engine(dead).info()
    assert "docker version" in caught.value.hint


@pytest.mark.parametrize("local", [False, True])
def test_an_engine_cannot_send_us_elsewhere(daemon, local):
    """It would have this machine ask its neighbours, with GET, POST and DELETE, and believe them."""
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        neighbour.settimeout(0.2)
        daemon.elsewhere = f"http://127.0.0.1:{neighbour.getsockname()[1]}/admin"
        found = DockerEngine(daemon.endpoint, timeout=20) if local else engine(Dialler(daemon))
        for ask in (lambda: found.find(A), lambda: found.untag(A), found.info):
            with pytest.raises(EndpointError):
                ask()
        with pytest.raises(TimeoutError):
            neighbour.accept()


@pytest.mark.parametrize("version", [None, 7, "", "1", "x.y", "9" * 3000])
def test_an_impossible_version(daemon, version):
    daemon.version["ApiVersion"] = version
    with pytest.raises(EndpointError):
        engine(Dialler(daemon)).info()


def test_podman_has_a_client_of_its_own(daemon):
    dialler = Dialler(daemon)
    seen = []

    def dial(url: str, program: str):
        seen.append((url, program))
        return dialler(url, "docker")

    found = DockerEngine("podman:ssh://carrier@plant", timeout=20, ssh=dial)
    found.info()
    assert seen == [("ssh://carrier@plant", "podman")]
