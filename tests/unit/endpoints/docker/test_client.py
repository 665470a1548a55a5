"""An engine that lies: whatever it says, only so much of it is read, and the end is an error in words."""

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator

import pytest

from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import EndpointError, NotFoundError
from airgap.limits import MAX_ENGINE_ANSWER_BYTES, MAX_ENGINE_LIST_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.support.daemon import Daemon

A = ImageReference.parse("t/a:1")
ID = Digest.of(b"image")
MIB = 1 << 20
IN_FLIGHT = 4 * MIB
"""What the stub may have sent that nobody has read: the buffers of the socket."""
ENDLESS = 80 * MIB
"""More than anybody should read, and little enough for a test that fails."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
Lie = Callable[[], Iterator[bytes]]


def endless(*first: bytes, piece: bytes = b" " * MIB) -> Lie:
    def lie() -> Iterator[bytes]:
        yield from first
        for _ in range(ENDLESS // MIB):
            yield piece

    return lie


LIES: dict[str, Lie] = {
    "a body without a length": endless(OK, b"\r\n"),
    "a body with a length": endless(OK, b"Content-Length: 9%015d\r\n\r\n" % 0),
    "chunks": endless(OK, CHUNKED, piece=b"100000\r\n%b\r\n" % (b" " * MIB)),
    "one chunk": endless(OK, CHUNKED, b"fffffffffff\r\n"),
    "a chunk of negative size": endless(OK, CHUNKED, b"-1\r\n"),
    "the size of a chunk": endless(OK, CHUNKED, piece=b"0" * MIB),
    "the name of an extension": endless(OK, CHUNKED, b"5;", piece=b"x" * MIB),
    "a line of the trailer": endless(OK, CHUNKED, b"2\r\n[]\r\n0\r\n", piece=b"x" * MIB),
    "a line of the head": endless(OK, piece=b"x" * MIB),
    "lines of the head": endless(OK, piece=b"X: y\r\n" * (MIB // 6)),
    "lines of the trailer": endless(OK, CHUNKED, b"2\r\n[]\r\n0\r\n", piece=b"X: y\r\n" * (MIB // 6)),
    "interim answers": endless(piece=b"HTTP/1.1 100 Continue\r\n\r\n" * (MIB // 25)),
    "a redirect": endless(b"HTTP/1.1 307 Here\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
    "an error": endless(b"HTTP/1.1 500 No\r\n\r\n"),
    "no HTTP": endless(piece=b"x" * MIB),
}

ASKING: dict[str, tuple[str, int, Callable[[DockerEngine], object]]] = {
    "version": ("/version", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.info()),
    "info": ("/info", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.info()),
    "list": ("/images/json", MAX_ENGINE_LIST_BYTES, lambda engine: engine.layer_chains()),
    "inspect": ("/images/docker.io/t/a:1/json", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.find(A)),
    "tag": (f"/images/{ID}/tag", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.tag(ID, A)),
    "untag": ("/images/docker.io/t/a:1", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.untag(A)),
    "load": ("/images/load", MAX_ENGINE_ANSWER_BYTES, lambda engine: engine.load([b"tar"])),
}


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("lie", LIES)
def test_an_answer_without_an_end(daemon, asking, lie):
    path, limit, ask = ASKING[asking]
    daemon.lies[path] = LIES[lie]
    with pytest.raises(EndpointError) as caught:
        ask(DockerEngine(daemon.endpoint, timeout=20))
    assert daemon.lied < limit + IN_FLIGHT
    assert len(str(caught.value)) < 4000


def test_the_limit_is_in_the_error(daemon):
    daemon.lies["/info"] = LIES["chunks"]
    with pytest.raises(
        EndpointError, match=r"cannot read the engine's state: .*want at most 4,194,304 bytes"
    ):
        DockerEngine(daemon.endpoint, timeout=20).info()


def test_a_list_of_thousands_of_images(daemon):
    labels = {f"org.example.label{number}": "x" * 100 for number in range(20)}
    images = [{"Id": str(Digest.of(b"%d" % number)), "Labels": labels} for number in range(9000)]
    daemon.images = {str(number): image for number, image in enumerate(images)}
    daemon.version["Components"] = [{"Name": "Podman Engine"}]
    assert DockerEngine(daemon.endpoint, timeout=20).find_id(Digest.of(b"8999"))


def test_nothing_is_unpacked(daemon):
    """A gigabyte of spaces is a megabyte on the line."""
    bomb = gzip.compress(b" " * (64 * MIB), 9)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    daemon.lies["/info"] = lambda: [head + bomb]
    with pytest.raises(EndpointError, match="unreadable answer"):
        DockerEngine(daemon.endpoint, timeout=20).info()


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"9" * 100_000, b"\xff\xfe\x00", b"", b"\xed\xa0\x80"])
@pytest.mark.parametrize("asking", ["version", "info", "list", "inspect", "load"])
def test_odd_json(daemon, asking, raw):
    path, _, ask = ASKING[asking]
    daemon.lies[path] = lambda: [OK + b"Content-Length: %d\r\n\r\n" % len(raw) + raw]
    if asking == "load" and not raw:
        ask(DockerEngine(daemon.endpoint, timeout=20))  # nothing to complain of
        return
    with pytest.raises(EndpointError, match=r"unreadable answer|no API version"):
        ask(DockerEngine(daemon.endpoint, timeout=20))


@pytest.mark.parametrize("body", [b'["x"]', b'{"message":{"a":1}}', b"[" * 100_000, b"\xff", b"5"])
def test_odd_errors(daemon, body):
    daemon.lies["/images/docker.io/t/a:1"] = lambda: [b"HTTP/1.1 409 No\r\n\r\n" + body]
    with pytest.raises(EndpointError, match="cannot remove the name") as caught:
        DockerEngine(daemon.endpoint, timeout=20).untag(A)
    assert len(str(caught.value)) < 5000


def test_an_error_without_a_word(daemon):
    daemon.lies["/images/docker.io/t/a:1"] = lambda: [b"HTTP/1.1 409 No\r\n\r\n"]
    with pytest.raises(EndpointError, match="got HTTP 409"):
        DockerEngine(daemon.endpoint, timeout=20).untag(A)


ODD = [None, 5, "x", [], [5], ["x"], {}, {"x": 5}, True]


KEYS = ["Id", "RootFS", "Layers", "Manifests", "Size", "RepoDigests", "DriverStatus", "Os", "Components"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("containerd", [False, True])
def test_documents_of_another_form(tmp_path, key, containerd):
    """Any answer will do, but no other exception."""
    with Daemon(tmp_path, containerd=containerd) as daemon:
        version, info = daemon.version, daemon.info
        for odd in ODD:
            manifest = {"Kind": "image", "Size": odd if key == "Size" else {}}
            daemon.images[str(ID)] = {
                "Id": str(ID),
                "RootFS": {"Layers": odd if key == "Layers" else []},
                "Manifests": [manifest],
                key: odd,
            }
            daemon.version, daemon.info = version | {key: odd}, info | {key: odd}
            engine = DockerEngine(daemon.endpoint, timeout=20)
            for ask in (engine.info, engine.layer_chains, lambda: engine.find_id(ID)):  # noqa: B023
                with contextlib.suppress(EndpointError):
                    ask()


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_lists_of_another_form(daemon, odd):
    daemon.lies["/images/json"] = lambda: [OK + b"\r\n" + json.dumps(odd).encode()]
    engine = DockerEngine(daemon.endpoint, timeout=20)
    if odd == []:
        assert engine.layer_chains() == frozenset()
        return
    with pytest.raises(EndpointError, match="unreadable answer"):
        engine.layer_chains()


def test_not_there_is_still_no_error(daemon):
    daemon.failures["/images/docker.io/t/a:1"] = (404, "x" * 100_000)
    assert DockerEngine(daemon.endpoint, timeout=20).untag(A) is None
    daemon.failures[f"/images/{ID}/tag"] = (404, "x" * 100_000)
    with pytest.raises(NotFoundError) as caught:
        DockerEngine(daemon.endpoint, timeout=20).tag(ID, A)
    assert len(str(caught.value)) < 4000


def test_requests_are_logged_without_secrets(tmp_path, caplog):
    name = ImageReference.parse("t/a:1")
    with Daemon(tmp_path) as daemon, caplog.at_level("DEBUG", "airgap.endpoints.docker"):
        engine = DockerEngine(daemon.endpoint, timeout=20)
        engine.find(name)
        with contextlib.suppress(EndpointError):
            engine.load([b"Authorization: Bearer abcdefgh0123456789"])
    assert "GET /images/docker.io/t/a:1/json" in caplog.text
    assert "POST /images/load" in caplog.text
    assert "HTTP 404" in caplog.text
    assert "abcdefgh" not in caplog.text
