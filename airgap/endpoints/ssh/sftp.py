"""SFTP version 3 over one channel (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for extensions).

Implemented here because paramiko's `SFTPFile` does not offer what makes it fast and safe: large writes with a
bounded window of unanswered requests, no copies of the data, and the server's extensions (`fsync`,
`posix-rename`, `statvfs`, `limits`).
"""

import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import paramiko

from airgap.endpoints.remote import FileKind, RemoteFile, RemoteSpace
from airgap.endpoints.ssh.limits import (
    MAX_SFTP_NAME_CHARACTERS,
    MAX_SFTP_NAMES,
    MAX_SFTP_REPLY_BYTES,
    MAX_SSH_MESSAGE_CHARACTERS,
    SFTP_REPLY_SECONDS,
)
from airgap.oci.digest import Advance, ByteStream, fill

_INIT, _VERSION = 1, 2
_OPEN, _CLOSE, _READ, _WRITE, _LSTAT, _OPENDIR, _READDIR, _REMOVE, _MKDIR = 3, 4, 5, 6, 7, 11, 12, 13, 14
_REALPATH, _RENAME, _EXTENDED = 16, 18, 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4

_FLAG_READ, _FLAG_WRITE, _FLAG_CREATE, _FLAG_EXCLUSIVE = 0x01, 0x02, 0x08, 0x20
_FOLDER, _FILE = 0o040000, 0o100000
_READ_ONLY = 1

_FSYNC, _POSIX_RENAME = b"fsync@openssh.com", b"posix-rename@openssh.com"
_STATVFS, _LIMITS = b"statvfs@openssh.com", b"limits@openssh.com"

_SMALL_BLOCK = 32_768
"""Bytes that every server accepts in one request."""
_LARGE_BLOCK = 261_120
"""Bytes that OpenSSH accepts in one request: 256 KiB less 1 KiB."""
_PACKET = 32_768
_WINDOW = 8 << 20
"""Bytes that may be sent without an answer."""


class StatusError(Exception):
    """The server's refusal of one request."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message[:MAX_SSH_MESSAGE_CHARACTERS] or f"status {code}")
        self.code = code


class ProtocolError(paramiko.SSHException):
    """An answer that violates the protocol."""


class GreetingError(ProtocolError):
    """The answer is not from an SFTP server; `output` is its beginning."""

    def __init__(self, output: bytes) -> None:
        super().__init__("not SFTP version 3")
        self.output = output


@dataclass(slots=True)
class _Reply:
    """An answer that is parsed from its beginning; raises `ProtocolError` beyond its end."""

    kind: int
    body: bytes
    at: int = 0

    def take(self, layout: str) -> tuple[int, ...]:
        try:
            found = struct.unpack_from(layout, self.body, self.at)
        except struct.error as error:
            raise ProtocolError("answer too short") from error
        self.at += struct.calcsize(layout)
        return found

    def integer(self) -> int:
        return self.take(">I")[0]

    def raw(self) -> bytes:
        size = self.integer()
        if self.at + size > len(self.body):
            raise ProtocolError("answer too short")
        self.at += size
        return self.body[self.at - size : self.at]

    def text(self) -> str:
        return self.raw().decode("utf-8", "surrogateescape")

    def attributes(self) -> tuple[int, int]:
        """Return size in bytes and mode; 0 for a missing one."""
        flags = self.integer()
        size = self.take(">Q")[0] if flags & 1 else 0
        self.take(">II") if flags & 2 else ()
        mode = self.integer() if flags & 4 else 0
        self.take(">II") if flags & 8 else ()
        for _ in range(self.integer() if flags & 0x80000000 else 0):
            self.raw()
            self.raw()
        return size, mode


class Sftp:
    """One SFTP session; its methods may be called from several threads, and run one at a time.

    They raise `StatusError` for refusals, and `OSError`, `EOFError` or `SSHException` if the connection
    fails.
    """

    def __init__(self, channel: paramiko.Channel, seconds: float = SFTP_REPLY_SECONDS) -> None:
        """Use `channel`. An answer that has begun must be complete within `seconds`."""
        self._channel = channel
        self._seconds = seconds
        self._lock = threading.RLock()
        self._number = 0
        self._awaited: set[int] = set()
        self._extensions = self._hello()
        self._block = self._write_limit()

    # -- whole operations

    def real_path(self, path: str) -> str:
        """Return the absolute form of a path."""
        with self._lock:
            reply = self._ask(_REALPATH, _string(path), _NAME)
            reply.integer()
            return reply.text()

    def find(self, path: str) -> RemoteFile | None:
        """Return the entry at that path, or None; a symbolic link is not followed."""
        with self._lock:
            try:
                size, mode = self._ask(_LSTAT, _string(path), _ATTRS).attributes()
            except StatusError as error:
                if error.code == NO_SUCH_FILE:
                    return None
                raise
        return RemoteFile(path.rpartition("/")[2], _kind(mode), size)

    def list(self, path: str) -> list[RemoteFile]:
        """Return all entries of a folder, at most 200,000; links are not followed."""
        found: list[RemoteFile] = []
        with self._lock:
            handle = self._ask(_OPENDIR, _string(path), _HANDLE).raw()
            try:
                while len(found) < MAX_SFTP_NAMES:
                    reply = self._ask(_READDIR, _string(handle), _NAME)
                    count = reply.integer()
                    if not count:
                        raise ProtocolError("an answer without names")
                    for _ in range(count):
                        name, _, (size, mode) = reply.text(), reply.raw(), reply.attributes()
                        if len(name) > MAX_SFTP_NAME_CHARACTERS:
                            raise ProtocolError("a name that is too long")
                        found.append(RemoteFile(name, _kind(mode), size))
                raise ProtocolError("a folder without an end")
            except StatusError as error:
                if error.code != EOF:
                    raise
            finally:
                self._ask(_CLOSE, _string(handle), _STATUS)
        return [file for file in found if file.name not in (".", "..")]

    def make_folder(self, path: str) -> None:
        with self._lock:
            self._ask(_MKDIR, _string(path) + struct.pack(">I", 0), _STATUS)

    def remove(self, path: str) -> None:
        with self._lock:
            self._ask(_REMOVE, _string(path), _STATUS)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing `new`; atomically if the server supports it."""
        with self._lock:
            if _POSIX_RENAME in self._extensions:
                self._ask(_EXTENDED, _string(_POSIX_RENAME) + _string(old) + _string(new), _STATUS)
                return
            if self.find(new) is not None:
                self.remove(new)
            self._ask(_RENAME, _string(old) + _string(new), _STATUS)

    def space(self, path: str) -> RemoteSpace | None:
        """Return the space left in the file system; None if the server does not report it."""
        if _STATVFS not in self._extensions:
            return None
        with self._lock:
            reply = self._ask(_EXTENDED, _string(_STATVFS) + _string(path), _EXTENDED_REPLY)
        _, unit, _, _, free, *_, flags, _ = reply.take(">11Q")
        return RemoteSpace(unit * free, read_only=bool(flags & _READ_ONLY))

    def write(self, path: str, stream: ByteStream, offset: int, advance: Advance) -> None:
        """Write the rest of `stream` from `offset` on; durable on return, if the server supports it.

        With offset 0 the file is created: the name must not exist, not even as a link. Exceptions of
        `stream` are passed on, and the bytes written before that stay.
        """
        flags = _FLAG_WRITE | (0 if offset else _FLAG_CREATE | _FLAG_EXCLUSIVE)
        with self._lock:
            handle = self._ask(_OPEN, _string(path) + struct.pack(">II", flags, 0), _HANDLE).raw()
            try:
                self._write(handle, stream, offset, advance)
                if _FSYNC in self._extensions:
                    self._ask(_EXTENDED, _string(_FSYNC) + _string(handle), _STATUS)
            finally:
                self._finish()
                self._ask(_CLOSE, _string(handle), _STATUS)

    def read(self, path: str, size: int, take: Callable[[bytes], object]) -> None:
        """Hand `size` bytes of a file to `take`, in order; fewer when the file is shorter."""
        with self._lock:
            handle = self._ask(_OPEN, _string(path) + struct.pack(">II", _FLAG_READ, 0), _HANDLE).raw()
            try:
                self._read(handle, size, take)
            finally:
                self._finish()
                self._ask(_CLOSE, _string(handle), _STATUS)

    def close(self) -> None:
        """End the session; the connection stays."""
        with self._lock:
            self._channel.close()

    # -- windows of requests

    def _write(self, handle: bytes, stream: ByteStream, offset: int, advance: Advance) -> None:
        head = 4 + 1 + 4 + 4 + len(handle) + 8 + 4
        buffer = memoryview(bytearray(head + self._block))
        sizes: dict[int, int] = {}

        def settle() -> None:
            number, reply = self._receive()
            _expect(reply, _STATUS)
            advance(sizes.pop(number))

        while size := fill(stream, buffer[head:]):
            number = self._next_number()
            sizes[number] = size
            position = struct.pack(">QI", offset, size)
            front = struct.pack(">IBI", head - 4 + size, _WRITE, number) + _string(handle) + position
            buffer[:head] = front
            self._send(buffer[: head + size])
            offset += size
            while len(sizes) * self._block >= _WINDOW:
                settle()
        while sizes:
            settle()

    def _read(self, handle: bytes, size: int, take: Callable[[bytes], object]) -> None:
        done = asked = 0
        wanted: dict[int, tuple[int, int]] = {}
        while done < size:
            while asked < size and len(wanted) * _SMALL_BLOCK < _WINDOW:
                length = min(_SMALL_BLOCK, size - asked)
                span = _string(handle) + struct.pack(">QI", asked, length)
                wanted[self._request(_READ, span)] = (asked, length)
                asked += length
            number, reply = self._receive()
            start, length = wanted.pop(number)
            if start != done:
                continue  # after a short answer: asked for again below
            try:
                data = _expect(reply, _DATA).raw()
            except StatusError as error:
                if error.code == EOF:
                    return
                raise
            take(data)
            done += len(data)
            if len(data) != length:
                if not data or len(data) > length:
                    raise ProtocolError("answer of the wrong length")
                asked = done

    def _finish(self) -> None:
        """Read the outstanding answers, so that the next request gets its own."""
        while self._awaited:
            self._receive()

    # -- requests and answers

    def _hello(self) -> dict[bytes, bytes]:
        self._send(memoryview(struct.pack(">IBI", 5, _INIT, 3)))
        if not (head := self._up_to(4)):
            self._lost()
        size = int.from_bytes(head)
        if len(head) < 4 or not 5 <= size <= MAX_SFTP_REPLY_BYTES:
            raise GreetingError(head)
        raw = self._exactly(size)
        reply = _Reply(raw[0], raw[1:])
        if reply.kind != _VERSION or reply.integer() < 3:
            raise GreetingError(head + raw)
        found: dict[bytes, bytes] = {}
        while reply.at < len(reply.body):
            name = reply.raw()
            found[name] = reply.raw()
        return found

    def _write_limit(self) -> int:
        if _LIMITS not in self._extensions:
            return _SMALL_BLOCK
        _, _, longest, _ = self._ask(_EXTENDED, _string(_LIMITS), _EXTENDED_REPLY).take(">4Q")
        return max(_SMALL_BLOCK, min(longest, _LARGE_BLOCK))

    def _ask(self, kind: int, body: bytes, want: int) -> _Reply:
        number = self._request(kind, body)
        got, reply = self._receive()
        if got != number:
            raise ProtocolError("answer to another request")
        return _expect(reply, want)

    def _request(self, kind: int, body: bytes) -> int:
        number = self._next_number()
        self._send(memoryview(struct.pack(">IBI", 5 + len(body), kind, number) + body))
        return number

    def _next_number(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._awaited.add(self._number)
        return self._number

    def _receive(self) -> tuple[int, _Reply]:
        reply = self._packet()
        number = reply.integer()
        if number not in self._awaited:
            raise ProtocolError("answer to no request")
        self._awaited.remove(number)
        return number, reply

    def _packet(self) -> _Reply:
        (size,) = struct.unpack(">I", self._exactly(4))
        if not 0 < size <= MAX_SFTP_REPLY_BYTES:
            raise ProtocolError("answer of an impossible size")
        raw = self._exactly(size)
        return _Reply(raw[0], raw[1:])

    def _exactly(self, size: int) -> bytes:
        found = self._up_to(size)
        if len(found) < size:
            self._lost()
        return found

    def _up_to(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end of the stream; the channel's timeout applies to each
        piece.
        """
        found = bytearray()
        end = time.monotonic() + self._seconds
        while len(found) < size and (piece := self._channel.recv(size - len(found))):
            found += piece
            if len(found) < size and time.monotonic() > end:
                raise TimeoutError(f"half an answer in {self._seconds:,.0f} s")
        return bytes(found)

    def _send(self, view: memoryview) -> None:
        """Send piece by piece: paramiko copies each buffer as a whole."""
        while view:
            sent = self._channel.send(view[:_PACKET])  # type: ignore[arg-type]  # any buffer will do
            if not sent:
                self._lost()
            view = view[sent:]

    def _lost(self) -> NoReturn:
        self._awaited.clear()
        raise EOFError


def _expect(reply: _Reply, kind: int) -> _Reply:
    if reply.kind == _STATUS:
        code = reply.integer()
        if code != OK:
            message = reply.text() if reply.at < len(reply.body) else ""
            raise StatusError(code, message)
    if reply.kind != kind:
        raise ProtocolError("answer of another kind")
    return reply


def _string(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(raw)) + raw


def _kind(mode: int) -> FileKind:
    return {_FOLDER: FileKind.FOLDER, _FILE: FileKind.FILE}.get(mode & 0o170000, FileKind.OTHER)
