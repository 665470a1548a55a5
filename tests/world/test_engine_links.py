"""How an engine is reached, what decides about it, and what a failure of it means."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from airgap.cli.endpoints import Endpoints
from airgap.endpoints.docker.context import EngineAddress, EngineTls
from airgap.endpoints.docker.dial import remote
from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.reference import ImageReference
from tests.support.certificates import self_signed
from tests.support.daemon import Daemon
from tests.support.saves import IDS, MemorySink, saved_by_20, tar
from tests.world.table import Kind, Row, replays, row

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("t/b:1")


def link_row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.LOGINS, who, does, reported, answer)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The engine's certificate, which is its own CA, and its key."""
    return self_signed(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def secure(tmp_path: Path, pair: tuple[Path, Path]) -> Iterator[Daemon]:
    with Daemon(tmp_path, tls=pair) as daemon:
        yield daemon


def certificates(folder: Path, ca: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "ca.pem").write_bytes(ca.read_bytes())
    return {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}


BUNDLES = {
    name: (
        link_row(f"requests, with {name}", "believes the CAs of that file instead of the engine's own", source,
                 "trusts only the engine's own CA"),
        name,
    )
    for name, source in (
        ("REQUESTS_CA_BUNDLE", "docker/docker-py#2433"), ("CURL_CA_BUNDLE", "measured"),
    )
}  # fmt: skip


@replays(BUNDLES)
def test_the_engines_own_ca_decides(
    tmp_path: Path, secure: Daemon, pair: tuple[Path, Path], stranger: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch, case: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(case, str(stranger[0]))
    environ = {"DOCKER_HOST": secure.host, **certificates(tmp_path / "own", pair[0])}
    assert DockerEngine(environ=environ).info().version == "28.5.2"
    monkeypatch.setenv(case, str(pair[0]))
    environ |= certificates(tmp_path / "other", stranger[0])
    with pytest.raises(UnavailableError, match="the engine does not answer") as caught:
        DockerEngine(environ=environ).info()
    assert f"checked against {tmp_path / 'other' / 'ca.pem'}" in (caught.value.hint or "")


def test_the_systems_cas_where_the_engine_has_none(
    secure: Daemon, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context without `ca.pem`: what the system trusts counts, and not the CAs that requests brings."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    session = remote(EngineAddress(secure.host, EngineTls(None, None, None)), lambda _: None)
    assert session.get(f"{session.base_url}/version", timeout=20).json()["Version"] == "28.5.2"


@row(
    Kind.LOGINS, "docker context create", "keeps CA, certificate and key of an engine below contexts/tls", "measured",
    "uses them, and shows the certificate to that engine only",
)  # fmt: skip
def test_the_certificates_of_a_context(tmp_path: Path, secure: Daemon, pair: tuple[Path, Path]) -> None:
    place = hashlib.sha256(b"plant").hexdigest()
    meta = tmp_path / "contexts" / "meta" / place
    material = tmp_path / "contexts" / "tls" / place / "docker"
    for folder in (meta, material):
        folder.mkdir(parents=True)
    endpoint = {"Host": secure.host, "SkipTLSVerify": False}
    (meta / "meta.json").write_text(json.dumps({"Name": "plant", "Endpoints": {"docker": endpoint}}))
    for name, source in (("ca.pem", pair[0]), ("cert.pem", pair[0]), ("key.pem", pair[1])):
        (material / name).write_bytes(source.read_bytes())
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "plant"}
    assert DockerEngine(environ=environ).info().address == f"{secure.host} (context plant)"


@row(
    Kind.LOGINS, "docker CLI", "speaks TLS without a check of the certificate where only DOCKER_TLS is set",
    "docker/docker-py#2244", "does the same, and shows it wherever it names the engine",
)  # fmt: skip
def test_docker_tls_alone(tmp_path: Path, secure: Daemon) -> None:
    environ = {"DOCKER_HOST": secure.host, "DOCKER_TLS": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert (
        DockerEngine(environ=environ)
        .info()
        .address.endswith(", its certificate is not checked (DOCKER_HOST)")
    )


@row(
    Kind.LOGINS, "docker CLI", "looks for ca.pem in ~/.docker where DOCKER_CERT_PATH is not set, and fails without it",
    "measured", "does the same, and names the file and the variable",
)  # fmt: skip
def test_tls_without_a_ca(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "HOME": str(tmp_path)}
    with pytest.raises(EndpointError, match=rf"the CA of the engine is missing: {tmp_path}/.docker/ca.pem"):
        DockerEngine(environ=environ).info()


@row(
    Kind.LOGINS, "docker CLI", "does not speak TLS for DOCKER_CERT_PATH alone", "measured", "does not either",
)  # fmt: skip
def test_a_folder_of_certificates_does_not_turn_tls_on(tmp_path: Path) -> None:
    with Daemon(tmp_path, tcp=True) as daemon:
        environ = {"DOCKER_HOST": daemon.host, "DOCKER_CERT_PATH": str(tmp_path / "none")}
        assert DockerEngine(environ=environ).info().version == "28.5.2"


@row(
    Kind.LOGINS, "dockerd with TLS", "answers plain HTTP with 400 and `Client sent an HTTP request to an HTTPS server`",
    "siderolabs/talos#6706", "says to set DOCKER_TLS_VERIFY",
)  # fmt: skip
def test_plain_http_to_an_engine_with_tls(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.failures["/version"] = (400, "Client sent an HTTP request to an HTTPS server.\n")
        with pytest.raises(EndpointError) as caught:
            DockerEngine(daemon.endpoint).info()
    assert "DOCKER_TLS_VERIFY=1" in (caught.value.hint or "")


def test_tls_to_an_engine_without(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with Daemon(tmp_path, tcp=True) as daemon:
        environ = {"DOCKER_HOST": daemon.host, **certificates(tmp_path / "own", pair[0])}
        with pytest.raises(UnavailableError) as caught:
            DockerEngine(environ=environ).info()
    assert "does not use TLS there" in (caught.value.hint or "")


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Notes what it is asked first, and hangs up."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        socket.create_connection(server.getsockname()).close()
        thread.join()


PROXIES = {
    "plain": (
        link_row("docker CLI 20.10 to 28", "asks a tcp engine through HTTP_PROXY", "containers/image#2424", "does the same"),
        ("http_proxy", {}, b"GET http://10.255.255.1:2375/version HTTP/1.1"),
    ),
    "tls": (
        link_row("docker CLI 20.10 to 28", "asks a tcp engine with TLS through HTTPS_PROXY", "measured", "does the same"),
        ("https_proxy", {"DOCKER_TLS": "1"}, b"CONNECT 10.255.255.1:2375 HTTP/1."),
    ),
}  # fmt: skip


@replays(PROXIES)
def test_proxies_for_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, Mapping[str, str], bytes]
) -> None:
    name, variables, head = case
    for key, value in {
        "DOCKER_HOST": "tcp://10.255.255.1:2375",
        "DOCKER_CERT_PATH": str(tmp_path),
        **variables,
    }.items():
        monkeypatch.setenv(key, value)
    with proxy() as (address, asked):
        monkeypatch.setenv(name, f"http://{address}")
        target = Endpoints().target("docker")
        assert isinstance(target, DockerEngine)
        with pytest.raises(UnavailableError):
            target.info()
    assert asked[0].startswith(head)


LOCAL = {
    "unix": (
        link_row("docker CLI 1.5", "asked the proxy for a unix socket, which answers `404 page not found`",
                 "tmatilai/vagrant-proxyconf#109", "never asks one for a socket"),
        False,
    ),
    "loopback": (
        link_row("requests", "asks the proxy for 127.0.0.1, unless NO_PROXY has it", "measured", "never asks one for loopback"),
        True,
    ),
}  # fmt: skip


@replays(LOCAL)
def test_no_proxy_for_loopback_and_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "/var/run/docker.sock,10.0.0.0/8")
    with Daemon(tmp_path, tcp=case) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        target = Endpoints().target("docker")
        assert isinstance(target, DockerEngine)
        assert target.info().version == "28.5.2"


@row(
    Kind.LOGINS, "requests", "sends a login from ~/.netrc to an engine over tcp", "measured", "sends none",
)  # fmt: skip
def test_no_login_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login alice password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Daemon(tmp_path, tcp=True) as daemon:
        assert DockerEngine(daemon.endpoint).info().version == "28.5.2"
        assert daemon.headers
        assert not [headers for headers in daemon.headers if "Authorization" in headers]


WORDS = {
    "full": (
        link_row("dockerd", "ends a load with `no space left on device` in the stream, after status 200",
                 "docker/docker-py#1488", "is a failure, and the hint says whose disk is full"),
        (200, "write /lib/x: no space left on device", "the disk of the engine is full"),
    ),
    "eof": (
        link_row("dockerd", "ends a load with `unexpected EOF`", "moby/moby#20069", "is a failure, with its message"),
        (200, "ApplyLayer exit status 1 stdout: stderr: unexpected EOF", ""),
    ),
    "header": (
        link_row("Docker 20.10", "ends a load of zstd layers with `invalid tar header`", "measured",
                 "is a failure, and the hint names the version that reads zstd"),
        (200, "archive/tar: invalid tar header", "Docker 23"),
    ),
    "layer": (
        link_row("dockerd", "ends a load without its base with `layer does not exist`", "measured",
                 "is a failure, and the hint says to load the base first"),
        (500, "layer does not exist", "load its base bundle"),
    ),
    "filter": (
        link_row("docker-socket-proxy", "answers what it does not allow with 403 and HTML",
                 "Tecnativa/docker-socket-proxy#26", "is a failure, and the hint says what to allow"),
        (403, "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>", "allow images"),
    ),
}  # fmt: skip


@replays(WORDS)
def test_what_an_engine_complains_of(tmp_path: Path, case: tuple[int, str, str]) -> None:
    status, words, hint = case
    with Daemon(tmp_path) as daemon:
        if status == 200:
            daemon.load_answer = json.dumps({"errorDetail": {"message": words}, "error": words}).encode()
        else:
            daemon.failures["/images/load"] = (status, words)
        with pytest.raises(EndpointError, match=r"load failed: docker:unix:") as caught:
            DockerEngine(daemon.endpoint).load([b"x"])
    assert hint in (caught.value.hint or "")


@row(
    Kind.LOGINS, "dockerd", "closes the connection in the middle of a load when it is stopped", "measured",
    "reports that the engine closed it, and to see its log",
)  # fmt: skip
@pytest.mark.parametrize("after", [0, 100_000, 50_000_000])
def test_an_engine_that_dies_in_the_middle(tmp_path: Path, after: int) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.die_after = after
        with pytest.raises(UnavailableError, match="load failed") as caught:
            DockerEngine(daemon.endpoint, timeout=20).load(b"x" * 100_000 for _ in range(600))
    assert "is the engine still running?" in (caught.value.hint or "")
    assert not [word for word in ("Error", "Errno", "Aborted", "Remote", "(") if word in str(caught.value)]


@row(
    Kind.LOGINS, "Docker 25 to 28, classic store", "lists only the first of several image IDs in index.json of a save",
    "moby/moby#51389", "asks for all names in one request, and for each ID in a separate one",
)  # fmt: skip
def test_ids_are_saved_one_by_one(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        pinned = ImageReference.parse(f"t/b@{IDS['b']}")
        daemon.images = {str(A): {"Id": str(IDS["a"])}, str(pinned): {"Id": str(IDS["b"])}}
        daemon.saved = [tar(*saved_by_20())]
        found = DockerEngine(daemon.endpoint).export([pinned, A, pinned], MemorySink(), lambda _: None)
        assert [image.reference for image in found] == [pinned, A, pinned]
        assert [query["names"] for query in daemon.queries if "names" in query] == [[str(A)], [str(IDS["b"])]]
