"""A backup of AIRGAP_HOME: a tar, encrypted with a passphrase (`trust/age.py`), and how it is restored.

`age -d BACKUP | tar -t` lists it without airgap. It holds the site's own key and the people's keys, so it is
never written unencrypted. Lock files and unfinished files are left out.

The ledger is copied first, up to a moment when no process was writing. The other files are then as new as the
ledger or newer, as after a power failure, which `site_check` accepts.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from airgap.audit.chain import check_ledger
from airgap.audit.facts import OVERRIDE, Mark
from airgap.audit.files import open_snapshot
from airgap.audit.record import NOTE
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder, make_folder, media_errors, write_stream
from airgap.bundle.statement import BUNDLE_PREDICATE_TYPE, Statement
from airgap.bundle.tar_entries import END_OF_ARCHIVE, TarEntry, header, padding, read_entries
from airgap.durable import exists, sync_folder
from airgap.errors import AirgapError, FormatError, IntegrityError, SizeMismatchError, UsageError
from airgap.limits import (
    MAX_BACKUP_DEPTH,
    MAX_BACKUP_FILE_BYTES,
    MAX_BACKUP_FILES,
    MAX_ENVELOPE_BYTES,
)
from airgap.oci.digest import CHUNK, ByteStream, Digest
from airgap.oci.strict_json import Fields, parse_object
from airgap.owned import read_owned, refuse_shared_folder
from airgap.site import Site
from airgap.site_check import CheckedSite, check_site
from airgap.trust.age import decrypt, encrypt
from airgap.trust.envelope import Envelope
from airgap.trust.policy import check_signatures
from airgap.values import dataclass

LEDGER = "ledger.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,160}", re.ASCII)
_LEFT_OUT = (".part", ".lock")
_SECRET = (".pem", ".key")
"""Files that only their owner may read."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was written."""

    path: Path
    files: int
    ledger_lines: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A site that was restored from a backup."""

    site: Site
    files: int
    ledger_lines: int
    latest: datetime
    """The time of the last record, or the clock's time if that is earlier."""
    alarms: tuple[str, ...]
    """What the restored files and their ledger disagree on."""
    adopted: tuple[str, ...]
    """The titles of the bundles that were sealed after the backup, whose serials are not used again."""


def back_up(site: Site, path: Path, passphrase: bytes) -> Backup:
    """Write an encrypted backup of `site` to `path`, whole or not at all, and record it in the ledger.

    Raises `UsageError` if `path` exists or is inside AIRGAP_HOME, `MediaError` and `NoSpaceError`.
    """
    if exists(path, follow=False):
        raise UsageError("a backup is never overwritten", subject=path, hint="name another file")
    if path.absolute().resolve().is_relative_to(site.home.resolve()):
        raise UsageError(
            "the backup would be inside AIRGAP_HOME",
            subject=path,
            hint="write it to another disk or a medium",
        )
    lines = check_ledger(site.ledger_path).size
    with (
        media_errors("cannot read the ledger", site.ledger_path),
        open_snapshot(site.ledger_path) as (ledger, size),
        site.ledger().attempt("backup", to=str(path.absolute()), lines=lines),
    ):
        names = sorted(_names(site.home))  # after the ledger, which then knows no file that is missing
        chunks = encrypt(_tar(site.home, ledger, size, names), passphrase)
        write_stream(path, chunks, mode=0o600)
    return Backup(path, len(names) + 1, lines)


def _names(home: Path, below: str = "", depth: int = 1) -> Iterator[str]:
    """Yield the names of the files to copy, except the ledger."""
    with media_errors("cannot read", home / below), os.scandir(home / below) as found:
        entries = list(found)
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False) and depth < MAX_BACKUP_DEPTH:
            yield from _names(home, name, depth + 1)
        elif not entry.name.endswith(_LEFT_OUT) and name != LEDGER and _NAME.fullmatch(entry.name):
            yield name


def _tar(home: Path, ledger: int, size: int, names: list[str]) -> Iterator[bytes]:
    yield header(LEDGER, size, mode=0o600)
    offset = 0
    while offset < size:
        with media_errors("cannot read", home / LEDGER):
            chunk = os.pread(ledger, min(CHUNK, size - offset), offset)
        if not chunk:
            raise SizeMismatchError(
                "the ledger became shorter", subject=home / LEDGER, want=f"{size:,} bytes"
            )
        offset += len(chunk)
        yield chunk
    yield padding(size)
    for name in names:
        raw = read_owned(home / name, MAX_BACKUP_FILE_BYTES)
        yield _header(name, len(raw)) + raw + padding(len(raw))
    yield END_OF_ARCHIVE


def _header(name: str, size: int) -> bytes:
    """Return the header of a file, after a pax header if its name is too long: receipts have the names of a
    site and a stream in theirs.
    """
    try:
        return header(name, size, mode=_mode(name))
    except ValueError:
        body = f" path={name}\n".encode()
        length = len(body) + len(str(len(body) + 3))
        record = str(length).encode() + body
        block = bytearray(header("pax", len(record)))
        block[156:157], block[148:156] = b"x", b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block) + record + padding(len(record)) + header("long", size, mode=_mode(name))


def _mode(name: str) -> int:
    return 0o600 if name.endswith(_SECRET) or name == LEDGER else 0o644


def restore(
    backup: Path,
    home: Path,
    passphrase: Callable[[], bytes],
    clock: datetime,
    check: Callable[[Site], object] = lambda _: None,
    *,
    newer: Sequence[Path] = (),
    reason: str | None = None,
) -> Restored:
    """Restore the site in `backup` as `home`, which must not exist or be empty, and record it in the ledger.

    The files are written beside `home` and checked there: the ledger's chain, the trust roots, and that both
    agree. `check` is called with that site, and raises to refuse it. Then the site takes over the bundles
    among `newer`, as `adopt_sealed` does. Only then do the files become `home`, in one step, so that an
    interrupted run leaves no site that would use a serial again. Raises `UsageError` if there is a site at
    `home`, and as `decrypt` and `adopt_sealed` do.
    """
    _refuse_existing(home)
    staging = home.with_name(home.name + ".restoring")
    _remove(staging)
    with media_errors("cannot create", staging):
        make_folder(staging, 0o700)
    try:
        files = _unpack(backup, passphrase, staging)
        checked, lines = _check(staging, clock, backup)
        check(checked.site)
        _record(checked.site, backup, lines, reason)
        adopted = [adopt_sealed(checked.site, path, checked.now) for path in newer]
        with media_errors("cannot create", home):
            staging.replace(home)
            sync_folder(home.parent)
    except BaseException:
        _remove(staging)
        raise
    titles = tuple(title for title in adopted if title is not None)
    return Restored(Site(home), files, lines, checked.now, checked.alarms, titles)


def _record(site: Site, backup: Path, lines: int, reason: str | None) -> None:
    details: dict[str, object] = {"path": str(backup.absolute()), "lines": lines}
    if reason is not None:
        details |= {"result": "override", "reason": reason}
    site.ledger().append("restore", NOTE, **details)


def adopt_sealed(site: Site, path: Path, now: datetime) -> str | None:
    """Take over a bundle that this side sealed after the backup, so that its serial is not used again.

    Returns its title, or None for a bundle of another side and for one that the site knows. Raises
    `TrustError` unless keys of the trust root signed it.
    """
    where = path / ENVELOPE_FILE if path.is_dir() else path
    with Folder(where.absolute().parent) as folder:
        raw = folder.read(where.name, MAX_ENVELOPE_BYTES)
    envelope = Envelope.parse(raw, str(where))
    document = parse_object(envelope.payload, str(where), max_bytes=MAX_ENVELOPE_BYTES, floats=False)
    if Fields(document, str(where)).text("predicateType") != BUNDLE_PREDICATE_TYPE:
        return None
    check_signatures(envelope, site.root().root, "release", now, str(where))
    statement = Statement.parse(envelope.payload, str(where))
    if statement.sender is None or statement.sender.site != site.name:
        return None
    mark = Mark(statement.epoch, statement.serial, Digest.of(envelope.payload).hex)
    with site.packing(statement.stream):
        before = site.sent(statement.stream)
        if before is not None and (before.epoch, before.serial) >= (mark.epoch, mark.serial):
            return None
        site.keep_envelope(statement.stream, statement.serial, statement.epoch, raw)
        site.set_sent(statement.stream, mark)
        sealed = {"stream": statement.stream, **mark.value}
        site.ledger().append(OVERRIDE, NOTE, change="restore", path=str(where.absolute()), sealed=sealed)
    return statement.title


def _refuse_existing(home: Path) -> None:
    with media_errors("cannot read", home):
        if exists(home, follow=False) and any(home.iterdir()):
            raise UsageError(
                "AIRGAP_HOME is not empty", subject=home, want="a folder that is empty or does not exist",
                hint="a site is never overwritten: move the folder away, or set AIRGAP_HOME to another one",
            )  # fmt: skip
        make_folder(home.parent)


def _remove(staging: Path) -> None:
    """Remove what an interrupted run left."""
    with media_errors("cannot remove", staging):
        if exists(staging, follow=False):
            refuse_shared_folder(staging, home=False)
            shutil.rmtree(staging)


def _unpack(backup: Path, passphrase: Callable[[], bytes], staging: Path) -> int:
    """Write the files of the backup below `staging`, and return their number."""
    count = 0
    with media_errors("cannot read", backup), backup.open("rb") as file:
        source = _Chunks(decrypt(file.read, passphrase, str(backup)))
        for entry, data in read_entries(source, max_entries=MAX_BACKUP_FILES):
            _check_entry(entry, backup)
            path = staging / entry.name
            with media_errors("cannot create", path.parent):
                make_folder(path.parent, 0o700)
            write_stream(path, _pieces(data), mode=_mode(entry.name))
            count += 1
    return count


def _check_entry(entry: TarEntry, backup: Path) -> None:
    parts = entry.name.split("/")
    plain = entry.kind == "file" and len(parts) <= MAX_BACKUP_DEPTH and all(map(_NAME.fullmatch, parts))
    if not plain or (entry.size > MAX_BACKUP_FILE_BYTES and entry.name != LEDGER):
        raise FormatError("not a file of AIRGAP_HOME", subject=f"{backup}: {entry.name!r}")


def _pieces(data: ByteStream) -> Iterator[bytes]:
    buffer = bytearray(CHUNK)
    while size := data.readinto(memoryview(buffer)):
        yield bytes(buffer[:size])


class _Chunks:
    """A stream over chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        size = min(len(self._rest), len(buffer))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._rest = b""


def _check(staging: Path, clock: datetime, backup: Path) -> tuple[CheckedSite, int]:
    try:
        checked = check_site(staging, clock, recording=False)
        return checked, check_ledger(staging / LEDGER).size
    except AirgapError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise  # the disk fails, which says nothing about the backup
        raise IntegrityError(
            "the backup does not hold an intact site", subject=backup, got=error,
            hint="it was made while files of the site were damaged: use an earlier backup",
        ) from error  # fmt: skip
