"""One bundle to one host: only what the host lacks or has wrong, each file proved there, the envelope last.

The far folder looks like an unfinished bundle from the first change to the last: the envelope goes away
before anything else is touched, and comes back when everything else is there and proved.
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from airgap.bundle.contents import ENVELOPE_FILE, FOLDERS, STATEMENT_FILE, signature_file
from airgap.carry.verify import CheckedBundle
from airgap.endpoints.remote import Host
from airgap.errors import TransportError
from airgap.oci.digest import CHUNK, Advance, ByteStream, CheckedReader, Digest
from airgap.progress import Progress
from airgap.workers import run_all

PART = ".part"
LANES = 2
"""One sends while the other has the host prove what was sent."""
_BATCH_BYTES = 64 << 20
_BATCH_FILES = 100
_MAX_SUMS = 256 << 10
TOOLS = (("openssl", "dgst", "-sha256", "-r"), ("sha256sum", "--"))
"""What hashes files there, in one form of output. OpenSSL is several times faster than older coreutils."""
_SUM = re.compile(rb"\\?([0-9a-f]{64}) [ *].*")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file of a bundle on its way."""

    name: str
    size: int
    sha256: str
    open: Callable[[], ByteStream]


@dataclass(slots=True)
class Sent:
    """What a sending did to the far folder."""

    folder: str
    names: set[str] = field(default_factory=set)
    """Files that went over the line, as a whole or in part."""
    bytes: int = 0
    """That went over the line."""
    there: int = 0
    """Files that were there already, and right."""
    complete: bool = False
    """Whether all is there, and proved."""
    proved_by: str = TOOLS[0][0]
    """The program that hashed the files there: `openssl`, `sha256sum`, or `reading back`."""

    @property
    def files(self) -> int:
        """How many went over the line."""
        return len(self.names)


def outgoing(bundle: CheckedBundle) -> list[Outgoing]:
    """Every file, the largest first and the envelope last. Content is read through checking readers."""
    listed = [_listed(bundle, name) for name in bundle.statement.subjects]
    envelope = bundle.envelope
    small = {signature_file(each.keyid): each.sig for each in envelope.signatures}
    small |= {STATEMENT_FILE: envelope.payload, ENVELOPE_FILE: envelope.to_bytes()}
    loose = [_small(name, content) for name, content in small.items()]
    return [*sorted(listed, key=lambda file: (-file.size, file.name)), *loose]


def _listed(bundle: CheckedBundle, name: str) -> Outgoing:
    size, sha256 = bundle.sizes[name], bundle.statement.subjects[name]

    def open_checked() -> ByteStream:
        stream = bundle.folder.open(name)
        return CheckedReader(stream, Digest("sha256", sha256), size, bundle.folder.where(name))

    return Outgoing(name, size, sha256, open_checked)


def _small(name: str, raw: bytes) -> Outgoing:
    return Outgoing(name, len(raw), Digest.of(raw).hex, lambda: io.BytesIO(raw))


@dataclass(slots=True)
class Sender:
    """Brings `files`, whose last one is the envelope, into the folder of `sent` on `host`."""

    host: Host
    sent: Sent
    """Of this sending: with what went over links that broke."""
    files: Sequence[Outgoing]
    progress: Progress
    _parts: dict[str, int] = field(default_factory=dict)
    """Sizes of what earlier attempts left unfinished, by the name that it shall have."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: bool = False
    _tools: list[tuple[str, ...]] = field(default_factory=lambda: list(TOOLS))

    def run(self) -> Sent:
        """Send. Raises `TransportError`, and for wrong content here what the readers raise."""
        self._make_folders()
        there = self._survey()
        right = self._prove_there(there)
        todo = [file for file in self.files if file.name not in right]
        self.sent.there = len(right - self.sent.names)
        for name in self._parts.keys() & right:
            self.host.remove(self._path(name + PART))
            del self._parts[name]
        if not todo:
            self.sent.complete = True
            return self.sent
        if ENVELOPE_FILE in there:
            if not right & {STATEMENT_FILE, ENVELOPE_FILE}:
                raise TransportError(
                    "another bundle of this name is there",
                    subject=self._where(""),
                    hint="--to DIR names another folder; if it is of no use any more, remove it there",
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

    # -- what is there

    def _make_folders(self) -> None:
        wanted = {name.rpartition("/")[0] for name in (file.name for file in self.files)} - {""}
        parents = {folder.rpartition("/")[0] for folder in wanted} - {""}
        for name in ["", *sorted(wanted | parents)]:
            found = self.host.find(self._path(name))
            if found is None:
                self.host.make_folder(self._path(name))
            elif found.kind != "folder":
                raise self._in_the_way(name, "no folder")

    def _survey(self) -> dict[str, int]:
        """Sizes of the bundle's files that are there. Whatever else is there is refused: a bundle holds
        what its statement lists, and nothing is removed that we did not put there.
        """
        names = {file.name for file in self.files}
        found: dict[str, int] = {}
        for folder in ("", *FOLDERS):
            if folder and (self.host.find(self._path(folder)) is None):
                continue
            for entry in self.host.list(self._path(folder)):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.kind == "folder" and name in FOLDERS:
                    continue
                if entry.kind != "file":
                    raise self._in_the_way(name, "no regular file")
                if name in names:
                    found[name] = entry.size
                elif name.endswith(PART) and (final := name.removesuffix(PART)) in names:
                    self._parts[final] = entry.size
                else:
                    raise self._in_the_way(name, "a file that the bundle does not have")
        return found

    def _in_the_way(self, name: str, got: str) -> TransportError:
        return TransportError(
            "something else is in the way", subject=self._where(name), got=got,
            hint="remove it there, or name another folder with --to DIR",
        )  # fmt: skip

    def _prove_there(self, there: dict[str, int]) -> set[str]:
        """Names of the files that are there and right."""
        same = [file for file in self.files if there.get(file.name) == file.size]
        if not same:
            return set()
        right: set[str] = set()
        with self.progress.phase("checking what is there", sum(file.size for file in same)) as advance:
            for batch in _batches(same):
                sums = self._sums([(self._path(file.name), file.size) for file in batch])
                right |= {file.name for file, found in zip(batch, sums, strict=True) if found == file.sha256}
                advance(sum(file.size for file in batch))
        return right

    def _check_space(self, wanted: int) -> None:
        space = self.host.space(self.sent.folder)
        if space is None:
            return
        if space.read_only:
            raise TransportError("a read-only file system", subject=self._where(""))
        if space.free < wanted:
            raise TransportError(
                "the remote disk is full", subject=self._where(""),
                want=f"{wanted:,} bytes free", got=f"{space.free:,}",
                hint="free some space there, then run the same command again",
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
        """Send, prove, and only then give the right names. After a failure the other lanes stop too."""
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
        """Fill the part of a file; whether it was gone on with in the middle."""
        path = self._path(file.name + PART)
        if not offset and file.name in self._parts:
            self.host.remove(path)
        if offset < file.size or not offset:
            with closing(file.open()) as stream:
                _skip(stream, offset)
                self.host.write(path, stream, offset, self._counting(file.name, advance))
        with self._lock:
            self._parts[file.name] = file.size
            self.sent.names.add(file.name)
        return offset > 0

    def _counting(self, name: str, advance: Advance) -> Advance:
        def went_over(count: int) -> None:
            with self._lock:
                self.sent.names.add(name)
                self.sent.bytes += count
            advance(count)

        return went_over

    # -- proof

    def _prove(self, batch: Sequence[Outgoing], resumed: Sequence[Outgoing]) -> None:
        """Parts that were gone on with may have begun wrong: those are sent once more, whole."""
        wrong = self._wrong_parts(batch)
        for file in wrong:
            if file in resumed:
                self._write(file, 0, lambda _: None)
        again = [file for file in wrong if file in resumed]
        for file in [*(file for file in wrong if file not in resumed), *self._wrong_parts(again)]:
            raise TransportError(
                "the host has other bytes than were sent",
                subject=self._where(file.name + PART),
                want=f"sha256:{file.sha256}",
                hint="its disk or its memory may be failing",
            )

    def _wrong_parts(self, batch: Sequence[Outgoing]) -> list[Outgoing]:
        if not batch:
            return []
        sums = self._sums([(self._path(file.name + PART), file.size) for file in batch])
        return [file for file, found in zip(batch, sums, strict=True) if found != file.sha256]

    def _sums(self, files: Sequence[tuple[str, int]]) -> list[str]:
        """SHA-256 of far files: by a program there, or, where none does it, of what the host hands back."""
        for tool in tuple(self._tools):
            ran = self.host.run([*tool, *(path for path, _ in files)], _MAX_SUMS)
            found = _parse_sums(ran.out, len(files)) if ran is not None and ran.code == 0 else None
            if found is not None:
                self.sent.proved_by = tool[0]
                return found
            with self._lock:
                self._tools = [each for each in self._tools if each != tool]
                if not self._tools:
                    self.progress.note("no program there that hashes files: they are read back instead")
        self.sent.proved_by = "reading back"
        return [self._read_back(path, size) for path, size in files]

    def _read_back(self, path: str, size: int) -> str:
        hasher = Digest.of(b"").hasher()
        self.host.read(path, size, hasher.update)
        return hasher.hexdigest()


def _parse_sums(out: bytes, count: int) -> list[str] | None:
    """The sums, when there is one line for each file and nothing else."""
    matches = [_SUM.fullmatch(line) for line in out.split(b"\n")[:-1]]
    found = [match[1].decode("ascii") for match in matches if match is not None]
    return found if len(found) == len(matches) == count else None


def _batches(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Few enough for one command line, and small enough that proof follows soon."""
    batch: list[Outgoing] = []
    for file in files:
        if batch and (
            len(batch) == _BATCH_FILES or sum(each.size for each in batch) + file.size > _BATCH_BYTES
        ):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _skip(stream: ByteStream, size: int) -> None:
    """Read what is there already: the reader checks the whole."""
    buffer = memoryview(bytearray(min(size, CHUNK) or 1))
    while size:
        got = stream.readinto(buffer[: min(size, len(buffer))]) or 0
        size -= got
        if not got:
            return
