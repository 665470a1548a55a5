"""Send one bundle to one host: only missing or wrong files, each proved on the host, the envelope last.

The remote folder is an unfinished bundle from the first change to the last: the envelope is removed before
any other file is changed, and is written when every other file is complete and proved.
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import field

from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, signature_file
from airgap.bundle.files import BUNDLE_FOLDERS
from airgap.carry.verify import CheckedBundle
from airgap.endpoints.remote import FileKind, Host
from airgap.errors import SizeMismatchError, TransportError
from airgap.limits import MAX_REMOTE_SUMS_BYTES
from airgap.oci.digest import Advance, ByteStream, CheckedReader, Digest, copy
from airgap.progress import Progress
from airgap.values import dataclass
from airgap.workers import run_all

PART = ".part"
LANES = 2
"""One lane sends while the host hashes what the other lane has sent."""
_BATCH_BYTES = 64 << 20
_BATCH_FILES = 100
TOOLS = (("openssl", "dgst", "-sha256", "-r"), ("sha256sum", "--"))
"""Programs that hash files on the host, with the same output format. OpenSSL is several times faster than
older coreutils.
"""
_SUM = re.compile(rb"\\?([0-9a-f]{64}) [ *].*")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file of a bundle to be sent."""

    name: str
    size: int
    sha256: str
    open: Callable[[int], ByteStream]
    """Opens the file at an offset in bytes. The content is not checked: the host's copy is."""
    check: Callable[[], object]
    """Raises `IntegrityError` if the file here is wrong; called if the host's copy is."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """What was sent into the remote folder."""

    folder: str
    names: set[str] = field(default_factory=set)
    """Files that were transferred, whole or in part."""
    bytes: int = 0
    """The number of bytes that were transferred."""
    there: int = 0
    """The number of files that the host already had, with the right content."""
    complete: bool = False
    """Whether every file is on the host and proved."""
    proved_by: str = TOOLS[0][0]
    """The program that hashed the files on the host (`openssl`, `sha256sum`), or `reading back`."""

    @property
    def files(self) -> int:
        """The number of files that were transferred."""
        return len(self.names)


def outgoing(bundle: CheckedBundle) -> list[Outgoing]:
    """Return every file of the bundle, largest first and envelope last."""
    listed = [_listed(bundle, name) for name in bundle.statement.subjects]
    envelope = bundle.envelope
    small = {signature_file(signature.keyid): signature.sig for signature in envelope.signatures}
    small |= {STATEMENT_FILE: envelope.payload, ENVELOPE_FILE: envelope.to_bytes()}
    loose = [_small(name, content) for name, content in small.items()]
    return [*sorted(listed, key=lambda file: (-file.size, file.name)), *loose]


def _listed(bundle: CheckedBundle, name: str) -> Outgoing:
    size, sha256 = bundle.sizes[name], bundle.statement.subjects[name]

    subject = bundle.folder.where(name)

    def open_at(offset: int) -> ByteStream:
        stream = bundle.folder.open(name)
        stream.seek(offset)
        return _SizedReader(stream, size - offset, subject)

    def check() -> None:
        digest = Digest("sha256", sha256)
        with closing(CheckedReader(bundle.folder.open(name), digest, size, subject)) as reader:
            copy(reader, lambda _: None)

    return Outgoing(name, size, sha256, open_at, check)


def _small(name: str, raw: bytes) -> Outgoing:
    return Outgoing(name, len(raw), Digest.of(raw).hex, lambda at: io.BytesIO(raw[at:]), lambda: None)


class _SizedReader:
    """Reads exactly `left` bytes. Raises `SizeMismatchError` if the stream ends before."""

    def __init__(self, stream: ByteStream, left: int, subject: object) -> None:
        self._stream = stream
        self._left = left
        self._subject = subject

    def readinto(self, buffer: memoryview, /) -> int:
        view = buffer[: self._left]
        count = self._stream.readinto(view) or 0
        if view and not count:
            raise SizeMismatchError("wrong size", subject=self._subject, want=f"{self._left:,} bytes more")
        self._left -= count
        return count

    def close(self) -> None:
        self._stream.close()


@dataclass(slots=True, kw_only=True)
class HostSender:
    """Sends `files`, the last of which is the envelope, into the folder `sent.folder` on `host`."""

    host: Host
    sent: Sent
    """The running totals, including earlier connections that broke."""
    files: Sequence[Outgoing]
    progress: Progress
    _parts: dict[str, int] = field(default_factory=dict)
    """Sizes of the partial files that earlier attempts left, by their final name."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: bool = False
    _tools: list[tuple[str, ...]] = field(default_factory=lambda: list(TOOLS))

    def run(self) -> Sent:
        """Send the files. Raises `TransportError`, and the readers' errors for wrong local content."""
        self._make_folders()
        sizes = self._survey()
        right = self._prove_there(sizes)
        todo = [file for file in self.files if file.name not in right]
        self.sent.there = len(right - self.sent.names)
        for name in self._parts.keys() & right:
            self.host.remove(self._path(name + PART))
            del self._parts[name]
        if not todo:
            self.sent.complete = True
            return self.sent
        if ENVELOPE_FILE in sizes:
            if not right & {STATEMENT_FILE, ENVELOPE_FILE}:
                raise TransportError(
                    "the host has another bundle with this name",
                    subject=self._where(""),
                    hint="choose another folder with --to DIR, or remove the old bundle on the host",
                )
            self.host.remove(self._path(ENVELOPE_FILE))
        *rest, envelope = [*(file for file in todo if file.name != ENVELOPE_FILE), self.files[-1]]
        left = sum(file.size - self._offset(file) for file in (*rest, envelope))
        self._check_space(left)
        with self.progress.phase("sending", left) as advance:
            self._send_all(rest, advance)
            self._send_batch([envelope], advance)
        self.sent.complete = True
        return self.sent

    def _path(self, name: str) -> str:
        return f"{self.sent.folder}/{name}" if name else self.sent.folder

    def _where(self, name: str) -> str:
        return f"{self.host.name}: {self._path(name)}"

    # -- what the host has

    def _make_folders(self) -> None:
        folders = {name.rpartition("/")[0] for name in (file.name for file in self.files)} - {""}
        parents = {folder.rpartition("/")[0] for folder in folders} - {""}
        for name in ["", *sorted(folders | parents)]:
            entry = self.host.find(self._path(name))
            if entry is None:
                self.host.make_folder(self._path(name))
            elif entry.kind is not FileKind.FOLDER:
                raise self._in_the_way(name, "not a folder")

    def _survey(self) -> dict[str, int]:
        """Return the sizes of the bundle's files on the host. Raises `TransportError` for any other file: a
        bundle may contain only what its statement lists, and airgap removes only files that it wrote.
        """
        names = {file.name for file in self.files}
        sizes: dict[str, int] = {}
        for folder in ("", *BUNDLE_FOLDERS):
            if folder and (self.host.find(self._path(folder)) is None):
                continue
            for entry in self.host.list(self._path(folder)):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.kind is FileKind.FOLDER and name in BUNDLE_FOLDERS:
                    continue
                if entry.kind is not FileKind.FILE:
                    raise self._in_the_way(name, "not a regular file")
                if name in names:
                    sizes[name] = entry.size
                elif name.endswith(PART) and (final := name.removesuffix(PART)) in names:
                    self._parts[final] = entry.size
                else:
                    raise self._in_the_way(name, "not a file of this bundle")
        return sizes

    def _in_the_way(self, name: str, got: str) -> TransportError:
        return TransportError(
            "the remote folder holds something else", subject=self._where(name), got=got,
            hint="remove it on the host, or choose another folder with --to DIR",
        )  # fmt: skip

    def _prove_there(self, sizes: dict[str, int]) -> set[str]:
        """Return the names of the files that the host has with the right content."""
        same = [file for file in self.files if sizes.get(file.name) == file.size]
        if not same:
            return set()
        right: set[str] = set()
        with self.progress.phase("checking files on the host", sum(file.size for file in same)) as advance:
            for batch in _batches(same):
                sums = self._sums([(self._path(file.name), file.size) for file in batch])
                right |= {
                    file.name
                    for file, remote_sum in zip(batch, sums, strict=True)
                    if remote_sum == file.sha256
                }
                advance(sum(file.size for file in batch))
        return right

    def _check_space(self, needed: int) -> None:
        space = self.host.space(self.sent.folder)
        if space is None:
            return
        if space.read_only:
            raise TransportError("the remote file system is read-only", subject=self._where(""))
        if space.free < needed:
            raise TransportError(
                "the remote disk is full", subject=self._where(""),
                want=f"{needed:,} bytes free", got=f"{space.free:,}",
                hint="free some space on the host, then run the same command again",
            )  # fmt: skip

    # -- sending

    def _offset(self, file: Outgoing) -> int:
        size = self._parts.get(file.name, 0)
        return size if size <= file.size else 0

    def _send_all(self, todo: Sequence[Outgoing], advance: Advance) -> None:
        errors = run_all(lambda batch: self._send_batch(batch, advance), list(_batches(todo)), LANES)
        for error in errors:
            if error is not None:
                raise error

    def _send_batch(self, batch: Sequence[Outgoing], advance: Advance) -> None:
        """Send and prove the files, and only then rename them. After a failure the other lane stops too."""
        if self._failed:
            return
        try:
            resumed = [file for file in batch if self._write(file, self._offset(file), advance)]
            self._prove(batch, resumed)
            for file in batch:
                self.host.rename(self._path(file.name + PART), self._path(file.name))
        except BaseException:
            self._failed = True
            raise

    def _write(self, file: Outgoing, offset: int, advance: Advance) -> bool:
        """Write the rest of a partial file; return whether some of it was there before."""
        path = self._path(file.name + PART)
        if not offset and file.name in self._parts:
            self.host.remove(path)
        if offset < file.size or not offset:
            with closing(file.open(offset)) as stream:
                self.host.write(path, stream, offset, self._counting(file.name, advance))
        with self._lock:
            self._parts[file.name] = file.size
            self.sent.names.add(file.name)
        return offset > 0

    def _counting(self, name: str, advance: Advance) -> Advance:
        def count_sent(count: int) -> None:
            with self._lock:
                self.sent.names.add(name)
                self.sent.bytes += count
            advance(count)

        return count_sent

    # -- proof

    def _prove(self, batch: Sequence[Outgoing], resumed: Sequence[Outgoing]) -> None:
        """Check the partial files. The beginning of a resumed one may be wrong: it is sent again, whole. Only
        the host hashes what is sent; if that is wrong, the file here is hashed too, to see which one it is.
        """
        wrong = self._wrong_parts(batch)
        for file in wrong:
            file.check()
            if file in resumed:
                self._write(file, 0, lambda _: None)
        again = [file for file in wrong if file in resumed]
        for file in [*(file for file in wrong if file not in resumed), *self._wrong_parts(again)]:
            raise TransportError(
                "the host did not store the bytes that were sent",
                subject=self._where(file.name + PART),
                want=f"sha256:{file.sha256}",
                hint="its disk or its memory may be failing",
            )

    def _wrong_parts(self, batch: Sequence[Outgoing]) -> list[Outgoing]:
        if not batch:
            return []
        sums = self._sums([(self._path(file.name + PART), file.size) for file in batch])
        return [file for file, remote_sum in zip(batch, sums, strict=True) if remote_sum != file.sha256]

    def _sums(self, files: Sequence[tuple[str, int]]) -> list[str]:
        """Return the SHA-256 of remote files. A program on the host computes them; if there is none, the
        content is read back.
        """
        for tool in tuple(self._tools):
            ran = self.host.run([*tool, *(path for path, _ in files)], MAX_REMOTE_SUMS_BYTES)
            sums = _parse_sums(ran.out, len(files)) if ran is not None and ran.code == 0 else None
            if sums is not None:
                self.sent.proved_by = tool[0]
                return sums
            with self._lock:
                self._tools = [other for other in self._tools if other != tool]
                if not self._tools:
                    self.progress.note(
                        "the host has no program that hashes files: they are read back instead"
                    )
        self.sent.proved_by = "reading back"
        return [self._read_back(path, size) for path, size in files]

    def _read_back(self, path: str, size: int) -> str:
        hasher = Digest.of(b"").hasher()
        self.host.read(path, size, hasher.update)
        return hasher.hexdigest()


def _parse_sums(out: bytes, count: int) -> list[str] | None:
    """Return the sums; None if the output is anything but one line for each file."""
    matches = [_SUM.fullmatch(line) for line in out.split(b"\n")[:-1]]
    sums = [match[1].decode("ascii") for match in matches if match is not None]
    return sums if len(sums) == len(matches) == count else None


def _batches(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Split the files so that their names fit on a command line and each batch is proved soon after it is
    sent.
    """
    batch: list[Outgoing] = []
    for file in files:
        if batch and (
            len(batch) == _BATCH_FILES or sum(queued.size for queued in batch) + file.size > _BATCH_BYTES
        ):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch
