"""What a site keeps of one sender: its trust roots, and what it accepted from it (FORMAT.md §12).

The first sender's files are in the site's own folder, those of another one in `senders/<name>/`. Both have
the same form:

sender.json             the sender's name here, and the rules about the names of its images
trust/<n>.root.json     the installed trust root and its successors
received/<stream>.json  the high-water mark: the newest bundle that was accepted here
received/<stream>/      the envelopes of all bundles accepted here

What this side seals itself (`sent/`) belongs to no other sender, and is in the site's own folder.
"""

import contextlib
import os
import re
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from airgap.audit.facts import AcceptedRecords, Mark
from airgap.bundle.files import make_folder, media_errors, write_file
from airgap.bundle.locks import alone_in
from airgap.bundle.stream_name import STREAM_GRAMMAR
from airgap.durable import exists
from airgap.errors import AirgapError, FormatError, NoTrustRootError, TrustError, UsageError
from airgap.limits import MAX_ROOT_BYTES, MAX_ROOTS_BYTES, MAX_SITE_FILE_BYTES
from airgap.oci.digest import Digest
from airgap.oci.name_rules import NameRules
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.owned import read_owned
from airgap.trust.root import SignedRoot, TrustRoot, walk_roots
from airgap.values import dataclass

SENDERS = "senders"
"""The folder of the senders after the first."""
SENDER_FILE = "sender.json"
SENDER_GRAMMAR = STREAM_GRAMMAR
DEFAULT_SENDER = "default"
"""The name of the first sender, if nobody gave it one."""
_ROOT_FILE = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)


class MarkKind(StrEnum):
    """The marks of a stream, and the folders that they are in."""

    RECEIVED = "received"
    """The newest bundle that was accepted here."""
    SENT = "sent"
    """The last bundle that was sealed here."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What a person decided about a sender: its name here, and the rules about its names."""

    name: str
    rules: NameRules | None
    """None if it may set every name, as the first sender may until a person restricts it."""

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value, in the file and in the ledger."""
        rules = None if self.rules is None else self.rules.value
        return {"version": 1, "name": self.name, "rules": rules}

    def to_bytes(self) -> bytes:
        """Return the file. Raises `UsageError` if it would be too large."""
        raw = dump(self.value) + b"\n"
        if len(raw) > MAX_SITE_FILE_BYTES:
            raise UsageError(
                "too many rules", subject=self.name, want=f"at most {MAX_SITE_FILE_BYTES:,} bytes",
                got=f"{len(raw):,}",
            )  # fmt: skip
        return raw

    @classmethod
    def from_bytes(cls, raw: bytes, where: str) -> Self:
        """Return the inverse of `to_bytes`. Raises `FormatError`."""
        fields = Fields(parse_object(raw, where), where)
        name, version = fields.text("name"), fields.integer("version")
        rules = None if fields.take("rules") is None else NameRules.from_json(fields.children("rules"))
        fields.end()
        if version != 1 or not SENDER_GRAMMAR.fullmatch(name):
            raise FormatError("wrong value", subject=where, want="version 1, and a sender's name")
        return cls(name, rules)


class SenderState:
    """The state of one sender in the folder of a site."""

    def __init__(self, home: Path, sender: str = "") -> None:
        """Use the state of `sender`; empty for the first one. Raises `UsageError` for another text."""
        if sender and not SENDER_GRAMMAR.fullmatch(sender):
            raise UsageError("not a sender's name", want="a-z, 0-9 and -, at most 63", got=repr(sender[:80]))
        self.home = home
        self.sender = sender
        """The name of its folder in `senders/`; empty for the first one."""
        self.folder = home / SENDERS / sender if sender else home
        self.accepted = AcceptedRecords(home / "ledger.jsonl", sender)

    @property
    def settings(self) -> SenderSettings:
        """What a person decided about it. Raises `FormatError` for a file of another form."""
        path = self.folder / SENDER_FILE
        if not self.sender and not exists(path, follow=False):
            return SenderSettings(DEFAULT_SENDER, None)
        return SenderSettings.from_bytes(read_owned(path, MAX_SITE_FILE_BYTES), str(path))

    def set_settings(self, settings: SenderSettings) -> None:
        """Write the decisions durably. Raises `FormatError` for what could not be read again."""
        raw = settings.to_bytes()
        SenderSettings.from_bytes(raw, SENDER_FILE)
        self._made()
        write_file(self.folder / SENDER_FILE, raw)

    @property
    def sender_name(self) -> str:
        """The sender's name for people."""
        return self.sender or self.settings.name

    def place(self, kind: "MarkKind") -> Path:
        """Return the folder of marks of `kind`."""
        return self.home / kind if kind is MarkKind.SENT else self.folder / kind

    # -- trust roots

    def roots(self) -> dict[int, bytes]:
        """Return the files of all installed roots, by version; empty if there are none."""
        raws = {}
        left = MAX_ROOTS_BYTES
        for path in (self.folder / "trust").glob("*.root.json"):
            if match := _ROOT_FILE.fullmatch(path.name):
                raws[int(match[1])] = raw = read_owned(path, min(left, MAX_ROOT_BYTES))
                left -= len(raw)
        return dict(sorted(raws.items()))

    def root_files(self) -> frozenset[str]:
        """Return the names of the files in the folder of the roots. They are enough to notice a new root,
        because the file of an installed root does not change.
        """
        folder = self.folder / "trust"
        with media_errors("cannot read", folder), os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)

    def root(self) -> SignedRoot:
        """Return the newest installed root, after a walk from the oldest one, which was installed by hand."""
        roots = self.roots()
        if not roots:
            raise NoTrustRootError(
                "no trust root is installed here",
                subject=self.folder,
                hint="get the fingerprint from the sending side (`airgap trust show` there), then run "
                "`airgap trust install BUNDLE`",
            )
        oldest = min(roots)
        anchor = SignedRoot.parse(roots[oldest], str(self.folder / "trust" / f"{oldest}.root.json"))
        newer = walk_roots(anchor, {version: raw for version, raw in roots.items() if version > oldest})
        newest = newer[-1] if newer else anchor
        if newest.root.version != max(roots):
            raise TrustError(
                "the installed trust roots do not follow one another", subject=self.folder / "trust"
            )
        return newest

    def root_versions(self) -> dict[int, TrustRoot]:
        """Return all versions of the installed trust root. Raises unless each follows the one before."""
        if not (raws := self.roots()):
            return {}
        self.root()  # walks from the oldest to the newest
        return {version: SignedRoot.parse(raw, f"{version}.root.json").root for version, raw in raws.items()}

    def install_root(self, signed: SignedRoot) -> None:
        """Store a root. The caller has compared its fingerprint, or walked to it. Raises `TrustError` if
        another root of this version was installed in the meantime.
        """
        with alone_in(self._made("trust")):
            if self.roots().get(signed.root.version, signed.raw) != signed.raw:
                raise TrustError(
                    "another trust root of this version is installed here", subject=signed.root.name
                )
            write_file(self.folder / "trust" / f"{signed.root.version}.root.json", signed.raw)

    def put_root_back(self, signed: SignedRoot) -> bool:
        """Restore a root that the caller has checked against the ledger; return False if it is present."""
        path = self.folder / "trust" / f"{signed.root.version}.root.json"
        with alone_in(self._made("trust")):
            with contextlib.suppress(AirgapError):
                if read_owned(path, MAX_ROOT_BYTES) == signed.raw:
                    return False
            write_file(path, signed.raw)
            return True

    # -- marks and envelopes of streams

    def keep_envelope(
        self, stream: str, serial: int, epoch: int, raw: bytes, kind: MarkKind = MarkKind.SENT
    ) -> None:
        """Store `raw`, the envelope of a bundle that was sealed or accepted here (FORMAT.md §12)."""
        self._made_place(kind, stream)
        write_file(self.kept_envelope(stream, serial, epoch, kind), raw)

    def kept_envelope(
        self, stream: str, serial: int, epoch: int | None = None, kind: MarkKind = MarkKind.SENT
    ) -> Path:
        """Return the path of the copy, whether or not it exists; without `epoch`, for the newest epoch.

        Serials start again with each epoch. The file name of a copy from epoch 1 does not contain the epoch.
        """
        folder = self.place(kind) / stream
        if epoch is None:
            copies = folder.glob(f"{serial:04d}.epoch*.dsse.json")
            names = (re.fullmatch(r"[0-9]+\.epoch([0-9]{1,9})\.dsse\.json", path.name) for path in copies)
            epoch = max((int(name[1]) for name in names if name), default=1)
        return folder / (f"{serial:04d}.dsse.json" if epoch == 1 else f"{serial:04d}.epoch{epoch}.dsse.json")

    def kept_envelopes(self, kind: MarkKind = MarkKind.SENT, stream: str = "*") -> list[Path]:
        """Return the copies of the envelopes of bundles sealed here, or accepted here."""
        return sorted((self.place(kind)).glob(f"{stream}/*.dsse.json"))

    def received(self, stream: str) -> Mark | None:
        """Return the high-water mark of `stream`: the newest bundle that was accepted here."""
        return self.mark(MarkKind.RECEIVED, stream)

    def marked(self, kind: MarkKind) -> list[str]:
        """Return the streams that have a mark of `kind`."""
        names = (path.name.removesuffix(".json") for path in (self.place(kind)).glob("*.json"))
        return sorted(name for name in names if STREAM_GRAMMAR.fullmatch(name))

    def receiving(self) -> AbstractContextManager[None]:
        """Lock the high-water marks, to read one and then raise it; other loads wait."""
        return alone_in(self._made("received"))

    def set_received(self, stream: str, mark: Mark) -> None:
        """Raise the high-water mark, inside `receiving`. It is durable before any tag is moved."""
        self.set_mark(MarkKind.RECEIVED, stream, mark)

    def mark(self, kind: MarkKind, stream: str) -> Mark | None:
        """Return a mark of `stream`, or None. Raises `FormatError` for a file that is not a mark."""
        path = self.place(kind) / f"{stream}.json"
        if not exists(path, follow=False):
            return None
        fields = Fields(parse_object(read_owned(path, MAX_SITE_FILE_BYTES), str(path)), str(path))
        sha256 = Digest.parse(f"sha256:{fields.text('statement_sha256')}", str(path)).hex
        mark = Mark(fields.integer("epoch"), fields.integer("serial"), sha256)
        fields.end()
        return mark

    def set_mark(self, kind: MarkKind, stream: str, mark: Mark) -> None:
        """Write a mark durably."""
        write_file(self._made_place(kind) / f"{stream}.json", dump(mark.value) + b"\n")

    def _made_place(self, kind: MarkKind, *names: str) -> Path:
        return self._folder(kind, *names) if kind is MarkKind.SENT else self._made(kind, *names)

    def _made(self, *names: str) -> Path:
        """Return a folder of the sender; if it is missing, make it."""
        return self._folder(*((SENDERS, self.sender) if self.sender else ()), *names)

    def _folder(self, *names: str) -> Path:
        """Return a folder of the home; if it is missing, make it with mode 0700, whatever the umask."""
        path = self.home
        for name in names:
            path /= name
            with media_errors("cannot create", path):
                make_folder(path, 0o700)
        return path
