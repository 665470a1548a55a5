"""The SFTP client against servers that are not what they should be; `tests/e2e` has the real one."""

import io
import struct

import paramiko
import pytest

from airgap.endpoints.remote import FileKind
from airgap.endpoints.ssh.sftp import ProtocolError, Sftp, StatusError

NOTHING = struct.pack(">I", 0)


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def text(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def status(number: int, code: int, message: bytes = b"") -> bytes:
    return packet(101, struct.pack(">II", number, code) + text(message) + text(b""))


VERSION = packet(2, struct.pack(">I", 3))


class Channel:
    """Answers with what was written down before, in pieces of `step` bytes."""

    def __init__(self, *answers: bytes, step: int = 1 << 20) -> None:
        self._answers = io.BytesIO(b"".join(answers))
        self._step = step
        self.sent = b""

    def recv(self, size: int) -> bytes:
        return self._answers.read(min(size, self._step))

    def send(self, data) -> int:
        piece = bytes(data)[: self._step]
        self.sent += piece
        return len(piece)


def client(*answers: bytes, step: int = 1 << 20) -> Sftp:
    return Sftp(Channel(VERSION, *answers, step=step))


@pytest.mark.parametrize(
    ("hello", "kind"),
    [
        (b"", EOFError),
        (b"Welcome to our server!\n", ProtocolError),
        (packet(2, struct.pack(">I", 2)), ProtocolError),
        (packet(1, struct.pack(">I", 3)), ProtocolError),
        (packet(2, b"\0"), ProtocolError),
        (packet(2, struct.pack(">I", 3) + text(b"name")), ProtocolError),
        (packet(2, struct.pack(">I", 3) + b"\xff\xff\xff\xffx"), ProtocolError),
        (struct.pack(">I", 0), ProtocolError),
        (struct.pack(">I", 1 << 30) + b"x" * 100, ProtocolError),
        (VERSION[:-1], EOFError),
    ],
)
def test_greetings(hello, kind):
    with pytest.raises(kind):
        Sftp(Channel(hello))


def test_an_answer_in_drops_has_an_end():
    with pytest.raises(TimeoutError, match="half an answer in 0 s"):
        Sftp(Channel(VERSION, step=1), seconds=0)


@pytest.mark.parametrize(
    "answer",
    [
        packet(105, struct.pack(">I", 9) + NOTHING),  # to another request
        packet(103, struct.pack(">I", 1) + NOTHING),  # data for attributes
        packet(105, struct.pack(">I", 1)),  # no attributes
        packet(105, struct.pack(">II", 1, 0x80000000) + b"\xff\xff\xff\xff"),  # four billion extensions
        packet(105, struct.pack(">II", 1, 1) + b"\0"),  # half a size
        packet(101, struct.pack(">I", 1)),  # a status without a code
        packet(101, b""),
        struct.pack(">I", (256 << 10) + 1025),
    ],
)
def test_answers(answer):
    with pytest.raises(ProtocolError):
        client(answer).find("/x")


def test_our_errors_are_of_translated_kinds():
    assert issubclass(ProtocolError, paramiko.SSHException)


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_what_is_there(step):
    link = packet(105, struct.pack(">IIQI", 1, 5, 7, 0o120777))
    file = packet(105, struct.pack(">IIQI", 2, 5, 1 << 40, 0o100644))
    sftp = client(link, file, status(3, 2), status(4, 3, b"Permission denied"), step=step)
    assert sftp.find("/a/link").kind is FileKind.OTHER
    assert (found := sftp.find("/a/file")).kind is FileKind.FILE
    assert (found.name, found.size) == ("file", 1 << 40)
    assert sftp.find("/a/none") is None
    with pytest.raises(StatusError, match="Permission denied"):
        sftp.find("/a/secret")


def test_an_entry_without_a_kind_is_not_a_file():
    assert client(packet(105, struct.pack(">II", 1, 0))).find("/x").kind is FileKind.OTHER


def test_a_list_that_never_ends():
    entry = text(b"x") + text(b"") + NOTHING
    pages = [packet(104, struct.pack(">II", 2 + i, 2000) + entry * 2000) for i in range(101)]
    pages = [page for page in pages if len(page) < (256 << 10)]
    handle = packet(102, struct.pack(">I", 1) + text(b"h"))
    with pytest.raises(ProtocolError, match="a folder without an end"):
        client(handle, *pages[:100], status(102, 0)).list("/x")


def test_writes_are_answered_or_fail():
    handle = packet(102, struct.pack(">I", 1) + text(b"h"))
    done: list[int] = []
    channel = Channel(VERSION, handle, status(2, 0), status(3, 0), status(4, 0))
    Sftp(channel).write("/x", io.BytesIO(b"a" * 40_000), 0, done.append)
    assert sum(done) == 40_000
    assert channel.sent.count(b"a") >= 40_000
    full = client(handle, status(2, 4, b"Failure"), status(3, 0), status(4, 0))
    with pytest.raises(StatusError, match="Failure"):
        full.write("/x", io.BytesIO(b"a" * 40_000), 0, done.append)


def test_a_refused_write_leaves_the_session_in_order():
    """The answers that were still to come are taken, and not for those of the next request."""
    handle = packet(102, struct.pack(">I", 1) + text(b"h"))
    answers = [handle, status(2, 4, b"Failure"), status(3, 4, b"Failure"), status(4, 0)]
    sftp = client(*answers, status(5, 2))
    with pytest.raises(StatusError):
        sftp.write("/x", io.BytesIO(b"a" * 40_000), 0, lambda _: None)
    assert sftp.find("/y") is None


def test_what_the_stream_raises_passes():
    class Broken(io.RawIOBase):
        def readinto(self, _):
            raise ValueError("broken")

    handle = packet(102, struct.pack(">I", 1) + text(b"h"))
    with pytest.raises(ValueError, match="broken"):
        client(handle, status(2, 0)).write("/x", Broken(), 0, lambda _: None)


def data(number: int, raw: bytes) -> bytes:
    return packet(103, struct.pack(">I", number) + text(raw))


def read(size: int, *answers: bytes) -> bytes:
    handle = packet(102, struct.pack(">I", 1) + text(b"h"))
    found: list[bytes] = []
    client(handle, *answers).read("/x", size, found.append)
    return b"".join(found)


def test_reading():
    assert read(5, data(2, b"hello"), status(3, 0)) == b"hello"
    assert read(0, status(2, 0)) == b""
    assert read(9, status(2, 1), status(3, 0)) == b"", "shorter than it was"


def test_a_short_answer_is_asked_for_again():
    whole = b"a" * 32_768 + b"b" * 10
    answers = [
        data(2, whole[:1000]),
        data(3, whole[32_768:]),
        data(4, whole[1000:33_768]),
        data(5, whole[33_768:]),
    ]
    # 4 asks for 1000 to 33,768 and 5 for the rest, which 3 had brought too early.
    assert read(len(whole), *(answers[:3]), status(5, 0)) == whole


@pytest.mark.parametrize("raw", [b"", b"x" * 6])
def test_answers_of_a_wrong_length(raw):
    with pytest.raises(ProtocolError, match="wrong length"):
        read(5, data(2, raw), status(3, 0))


def test_limits_that_make_no_sense():
    hello = packet(2, struct.pack(">I", 3) + text(b"limits@openssh.com") + text(b"1"))
    for limit in (0, 1, 1 << 60):
        limits = packet(201, struct.pack(">I4Q", 1, 0, 0, limit, 0))
        assert 32_768 <= Sftp(Channel(hello, limits))._block <= 261_120
