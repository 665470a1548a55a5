"""A remote machine as the use-cases see it: files and commands over one connection."""

import contextlib
import logging
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import paramiko

from airgap.endpoints.remote import LONG_SILENCE, CommandResult, RemoteFile, RemoteSpace
from airgap.endpoints.ssh import sftp
from airgap.endpoints.ssh.command import PipeSocket, finish, start
from airgap.endpoints.ssh.connect import SshConnection, translated
from airgap.endpoints.ssh.opening import open_sftp
from airgap.endpoints.ssh.sftp import Sftp, StatusError
from airgap.errors import LinkError, TransportError
from airgap.hiding import hide
from airgap.oci.digest import Advance, ByteStream

log = logging.getLogger(__name__)

_PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Seconds before each attempt to open a session in place of one that is ending."""
_FULL = 1 << 20
"""Less than this counts as full: the last request may have been as large as 255 KiB."""


class SshHost:
    """A `Host` over an open connection."""

    def __init__(self, connection: SshConnection) -> None:
        self._connection = connection
        self.name = connection.name
        self._one_at_a_time = threading.Lock()
        """Servers may allow only a few sessions."""
        self._first_writes = threading.Lock()
        self._second_writes = threading.Lock()
        self._second: Sftp | None = None
        self._may_have_second = True

    def real_path(self, path: str) -> str:
        with self._translated("cannot find", path):
            return self._sftp.real_path(path)

    def find(self, path: str) -> RemoteFile | None:
        with self._translated("cannot inspect", path):
            return self._sftp.find(path)

    def list(self, path: str) -> list[RemoteFile]:
        with self._translated("cannot list", path):
            return self._sftp.list(path)

    def make_folder(self, path: str) -> None:
        with self._translated("cannot make the folder", path):
            self._sftp.make_folder(path)

    def remove(self, path: str) -> None:
        with self._translated("cannot remove", path):
            self._sftp.remove(path)

    def rename(self, old: str, new: str) -> None:
        with self._translated("cannot rename", old):
            self._sftp.rename(old, new)

    def space(self, path: str) -> RemoteSpace | None:
        try:
            with self._translated("cannot read the free space", path):
                return self._sftp.space(path)
        except TransportError:
            if self._connection.lost():
                raise
            return None

    def write(self, path: str, stream: ByteStream, offset: int, advance: Advance) -> None:
        with self._translated("cannot write", path), self._writer() as session:
            session.write(path, stream, offset, advance)

    def read(self, path: str, size: int, take: Callable[[bytes], object]) -> None:
        with self._translated("cannot read", path):
            self._sftp.read(path, size, take)

    def run(self, argv: Sequence[str], limit: int, silence: float = LONG_SILENCE) -> CommandResult | None:
        with self._one_at_a_time, self._translated("cannot run", argv[0]):
            try:
                opened = self._session()
            except paramiko.ChannelException:  # sshd_config(5), MaxSessions: SFTP uses one session
                return None
            return self._run(opened, argv, limit, silence)

    def _run(
        self, opened: paramiko.Channel, argv: Sequence[str], limit: int, silence: float
    ) -> CommandResult | None:
        log.info("%s: running %s", self.name, hide(shlex.join(argv)))
        with contextlib.closing(opened) as channel:
            try:
                start(channel, argv)
                channel.shutdown_write()
            except (paramiko.SSHException, OSError):
                if self._connection.lost():
                    raise
                return None
            result = finish(channel, limit, f"{self.name}: {argv[0]}", silence)
            if result.code < 0 and self._connection.lost():
                raise EOFError
            log.info("%s: %s ended with %d", self.name, argv[0], result.code)
            return result

    def pipe(self, argv: Sequence[str]) -> PipeSocket:
        """Start a command whose standard input and output are used as a socket."""
        with self._translated("cannot run", " ".join(argv)):
            channel = self._connection.session()
            log.info("%s: running %s", self.name, hide(shlex.join(argv)))
            start(channel, argv)
            return PipeSocket(channel)

    def close(self) -> None:
        self._connection.close()

    @cached_property
    def _sftp(self) -> Sftp:
        return open_sftp(self._connection)

    @contextlib.contextmanager
    def _writer(self) -> Iterator[Sftp]:
        """Yield a session for writing: the second one while the first writes, so that one file is sent while
        the host syncs another.
        """
        if self._first_writes.acquire(blocking=False):
            try:
                yield self._sftp
            finally:
                self._first_writes.release()
            return
        with self._second_writes:
            if self._second is None and self._may_have_second:
                self._second = self._open_second()
            yield self._second or self._sftp

    def _open_second(self) -> Sftp | None:
        """Return a second session; None from now on if the server does not allow it."""
        try:
            return open_sftp(self._connection)
        except (TransportError, paramiko.SSHException, OSError, EOFError):
            if self._connection.lost():
                raise
            self._may_have_second = False
            return None

    def _session(self) -> paramiko.Channel:
        """Open a session for a command. If the server allows no more, the second one for writing ends first,
        as soon as its file is written: commands are needed more.
        """
        try:
            return self._connection.session()
        except paramiko.ChannelException:
            with self._second_writes:
                self._may_have_second = False
                if self._second is None:
                    raise
                self._second.close()
                self._second = None
        for pause in _PAUSES:  # the server counts the session until its SFTP program has ended
            time.sleep(pause)
            with contextlib.suppress(paramiko.ChannelException):
                return self._connection.session()
        return self._connection.session()

    @contextlib.contextmanager
    def _translated(self, what: str, path: str) -> Iterator[None]:
        subject = f"{self.name}: {path}"
        try:
            with translated(what, subject):
                yield
        except StatusError as error:
            raise self._refusal(what, subject, path, error) from error
        except TransportError as error:
            broken = isinstance(error.__cause__, (EOFError, OSError))
            if error.hint is None and (broken or self._connection.lost()):
                hint = "the connection broke: run the same command again to resume"
                raise LinkError(what, subject=subject, got=error.got, hint=hint) from error
            raise

    def _refusal(self, what: str, subject: str, path: str, error: StatusError) -> TransportError:
        """Return the error for a refusal, with its likely cause: servers report only `Failure` for a full
        disk.
        """
        if error.code == sftp.NO_SUCH_FILE:
            return TransportError(what, subject=subject, got="no such file or folder")
        if error.code == sftp.PERMISSION_DENIED:
            return TransportError(
                what, subject=subject, got="permission denied", hint="name another folder there with --to DIR"
            )
        space = self._space_of(path)
        if space is not None and space.read_only:
            return TransportError(what, subject=subject, got="a read-only file system")
        if space is not None and space.free < _FULL:
            return TransportError(
                "the remote disk is full", subject=subject,
                got=f"{space.free:,} bytes free",
                hint="free some space there, then run the same command again to resume",
            )  # fmt: skip
        return TransportError(what, subject=subject, got=error)

    def _space_of(self, path: str) -> RemoteSpace | None:
        with contextlib.suppress(StatusError, paramiko.SSHException, OSError, EOFError):
            return self._sftp.space(path)
        with contextlib.suppress(StatusError, paramiko.SSHException, OSError, EOFError):
            return self._sftp.space(path.rpartition("/")[0] or ".")
        return None
