"""A site: one side's identity and memory, in the folder that `AIRGAP_HOME` names.

site.json               the site's name
site.key  site.pub      the site's own key: signs receipts, unattended, like an SSH host key
keys/<owner>.pem .pub   people's signing keys, encrypted
trust/<n>.root.json     the installed trust root and its successors
ledger.jsonl            the audit ledger
sent/<stream>.json      the last bundle sealed here
sent/<stream>/          the envelopes of all bundles sealed here
sent/<stream>.lock      held while a bundle of the stream is made
received/<stream>.json  the high-water mark of what was accepted here
receipts/               what was loaded here, signed
receipts/<site>/        what came back from other sites
"""

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from airgap.account import required_home
from airgap.audit.ledger import Ledger
from airgap.bundle.claim import alone_in
from airgap.bundle.files import make_folder, media_errors, write_file
from airgap.bundle.statement import STREAM_GRAMMAR
from airgap.durable import exists, sync_folder
from airgap.errors import FormatError, KeyFileError, MediaError, NoTrustRootError, TrustError, UsageError
from airgap.hiding import LOGIN_HINT, has_secret
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.trust.keys import PublicKey, SigningKey
from airgap.trust.root import SignedRoot, TrustRoot, walk

Passphrase = Callable[[], bytes]
"""Asked only when a key is encrypted; gives the passphrase for the key file that it is for."""

SITE_GRAMMAR = STREAM_GRAMMAR
ELSEWHERE = "AIRGAP_HOME names another folder for them: one that is kept, that you own and can write"
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_ROOT_FILE = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a stream: epoch, serial, and the SHA-256 of the statement there."""

    epoch: int
    serial: int
    statement_sha256: str


def default_home() -> Path:
    """`AIRGAP_HOME`, else the platform's folder for user data. Raises `UsageError` where there is none."""
    if home := os.environ.get("AIRGAP_HOME"):
        if has_secret(home):
            raise UsageError(
                "a password or token in AIRGAP_HOME", want="the path of a folder", hint=LOGIN_HINT
            )
        return Path(home)
    if sys.platform != "darwin" and (data := os.environ.get("XDG_DATA_HOME")):
        return Path(data) / "airgap"
    own = required_home("airgap's keys and ledger", ELSEWHERE)
    if sys.platform == "darwin":
        return own / "Library" / "Application Support" / "airgap"
    return own / ".local" / "share" / "airgap"


def now() -> datetime:
    """The present, to the second: read once a command and passed on from there."""
    return datetime.now(UTC).replace(microsecond=0)


class Site:
    """The folder of one site. Reading it raises `UsageError` when there is none yet."""

    def __init__(self, home: Path) -> None:
        self.home = home
        path = home / "site.json"
        if not exists(path):
            raise UsageError(
                "no site here yet",
                subject=home,
                hint="the side that makes bundles runs `airgap init`; the side that receives them runs "
                "`airgap trust install ROOT-FILE`",
            )
        fields = Fields(parse_object(_read(path), str(path)), str(path))
        self.name = fields.text("site")

    @classmethod
    def create(cls, home: Path, name: str) -> Self:
        """Make a new site with a key of its own; an existing one of the same name is opened."""
        if not SITE_GRAMMAR.fullmatch(name):
            raise UsageError("not a site name", want="a-z, 0-9 and -, at most 63", got=repr(name))
        if exists(home / "site.json"):
            site = cls(home)
            if site.name != name:
                site._rename(name)
            return site
        try:
            with media_errors("cannot create", home):
                make_folder(home, 0o700)
        except MediaError as error:
            error.hint = error.hint or ELSEWHERE
            raise
        if not exists(home / "site.key"):
            _save_key(SigningKey.generate(), home / "site.key", None)
        key = SigningKey.load(home / "site.key", _no_passphrase)
        write_file(home / "site.pub", key.public_key.pem.encode())
        write_file(home / "site.json", dump({"version": 1, "site": name}) + b"\n")
        return cls(home)

    def _rename(self, name: str) -> None:
        """As long as nothing was signed, sealed or accepted under the name, it may have been a slip."""
        if any(exists(self.home / folder) for folder in ("keys", "sent", "received", "receipts")):
            raise UsageError(
                "there is another site here",
                subject=self.home,
                want=name,
                got=self.name,
                hint="what it has signed and received bears its name; another site needs another AIRGAP_HOME",
            )
        write_file(self.home / "site.json", dump({"version": 1, "site": name}) + b"\n")
        self.name = name

    @property
    def key(self) -> SigningKey:
        """The site's own key."""
        return SigningKey.load(self.home / "site.key", _no_passphrase)

    @property
    def ledger_path(self) -> Path:
        """The file of the audit ledger."""
        return self.home / "ledger.jsonl"

    def ledger(self) -> Ledger:
        """The audit ledger, by this machine's clock and time zone."""
        return Ledger(self.ledger_path, site=self.name, clock=lambda: datetime.now().astimezone())

    # -- people's keys

    def key_path(self, owner: str) -> Path:
        """Where the private key of `owner` is kept."""
        if not _OWNER.fullmatch(owner):
            raise UsageError("not a key name", want="letters, digits, . _ -", got=repr(owner))
        return self.home / "keys" / f"{owner}.pem"

    def add_key(self, owner: str, key: SigningKey, passphrase: bytes | None) -> Path:
        """Keep a new private key, and the public one beside it. Where there is a private one, there is the
        public one too, whenever the power is cut.
        """
        path = self.key_path(owner)
        with media_errors("cannot create", path.parent):
            make_folder(path.parent, 0o700)
        with alone_in(path.parent):
            if os.path.lexists(path):
                hint = "choose another name, or move the old key away"
                raise KeyFileError("a key is never overwritten", subject=path, hint=hint)
            public = path.with_suffix(".pub")
            _save_key(key, path, passphrase, lambda: write_file(public, key.public_key.pem.encode()))
        return path

    def public_keys(self) -> dict[str, PublicKey]:
        """The public halves of the keys here, by owner."""
        found = sorted((self.home / "keys").glob("*.pub"))
        return {path.stem: PublicKey.from_pem(_read(path), str(path)) for path in found}

    def signing_key(self, owner: str | None, passphrase: Passphrase) -> SigningKey:
        """The private key of `owner`, or the only one there is, or the only one that may sign bundles."""
        keys = self.public_keys()
        owners = list(keys)
        if owner is None and len(owners) > 1 and self.roots():
            may_sign = self.root().root.roles["release"].keyids
            owners = [name for name, key in keys.items() if key.keyid in may_sign] or owners
        if owner is None and len(owners) != 1:
            got = ", ".join(owners) or "none"
            hint = (
                "`--key OWNER` says which" if owners else "`airgap init` or `airgap key generate` makes one"
            )
            raise KeyFileError("which key?", subject=self.home, want="one signing key", got=got, hint=hint)
        return SigningKey.load(self.key_path(owner or owners[0]), passphrase)

    # -- trust

    def roots(self) -> dict[int, bytes]:
        """The files of all installed roots, by version; empty when there is none."""
        found = {}
        for path in (self.home / "trust").glob("*.root.json"):
            if match := _ROOT_FILE.fullmatch(path.name):
                found[int(match[1])] = _read(path)
        return dict(sorted(found.items()))

    def root(self) -> SignedRoot:
        """The newest installed root, walked to from the oldest one that was installed by hand."""
        roots = self.roots()
        if not roots:
            raise NoTrustRootError(
                "no trust root is installed here",
                subject=self.home,
                hint="get the root file and its fingerprint from the sending side, then run "
                "`airgap trust install ROOT-FILE`",
            )
        oldest = min(roots)
        anchor = SignedRoot.parse(roots[oldest], str(self.home / "trust" / f"{oldest}.root.json"))
        newer = walk(anchor, {version: raw for version, raw in roots.items() if version > oldest})
        found = newer[-1] if newer else anchor
        if found.root.version != max(roots):
            raise TrustError("the installed roots do not follow one another", subject=self.home / "trust")
        return found

    def root_versions(self) -> dict[int, TrustRoot]:
        """All versions of the installed trust root, each following from the one before."""
        if not (raws := self.roots()):
            return {}
        self.root()  # walks from the oldest to the newest
        return {version: SignedRoot.parse(raw, f"{version}.root.json").root for version, raw in raws.items()}

    def install_root(self, signed: SignedRoot) -> None:
        """Keep a root. The caller has compared its fingerprint, or walked to it. Raises `TrustError` when
        there is another one of that version meanwhile.
        """
        with alone_in(self.home / "trust"):
            if self.roots().get(signed.root.version, signed.raw) != signed.raw:
                raise TrustError("another trust root of this version is here", subject=signed.root.name)
            write_file(self.home / "trust" / f"{signed.root.version}.root.json", signed.raw)

    # -- places in streams

    def sent(self, stream: str) -> Mark | None:
        """The last bundle of `stream` that was sealed here."""
        return self._mark(self.home / "sent" / f"{stream}.json")

    def set_sent(self, stream: str, mark: Mark) -> None:
        """Remember a sealed bundle."""
        self._set_mark(self.home / "sent" / f"{stream}.json", mark)

    @contextlib.contextmanager
    def packing(self, stream: str) -> Iterator[None]:
        """Keep other processes from making a bundle of `stream`: two would get one serial.

        Raises `UsageError` when one is at it. A process that dies lets go.
        """
        path = self.home / "sent" / f"{stream}.lock"
        with media_errors("cannot lock", path):
            make_folder(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with media_errors("cannot lock", path):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise UsageError(
                        "another bundle of this stream is being made",
                        subject=stream,
                        hint="wait until the other `airgap pack` has ended, then run this one again",
                    ) from error
            yield
        finally:
            with contextlib.suppress(OSError):  # nothing was written
                os.close(fd)

    def keep_envelope(self, stream: str, serial: int, raw: bytes) -> None:
        """Keep a copy of a sealed bundle's envelope: the base of a delta when the bundle is gone."""
        write_file(self.home / "sent" / stream / f"{serial:04d}.dsse.json", raw)

    def kept_envelope(self, stream: str, serial: int) -> Path:
        """Where the copy is, if there is one."""
        return self.home / "sent" / stream / f"{serial:04d}.dsse.json"

    def kept_envelopes(self) -> list[Path]:
        """The copies of the envelopes of all bundles sealed here."""
        return sorted((self.home / "sent").glob("*/*.dsse.json"))

    def received(self, stream: str) -> Mark | None:
        """The high-water mark of `stream`: the newest bundle that was accepted here."""
        return self._mark(self.home / "received" / f"{stream}.json")

    def receiving(self) -> AbstractContextManager[None]:
        """Round a look at a high-water mark and the raising of it: other loads wait meanwhile."""
        return alone_in(self.home / "received")

    def set_received(self, stream: str, mark: Mark) -> None:
        """Raise the high-water mark, within `receiving`; durable before any tag moves."""
        self._set_mark(self.home / "received" / f"{stream}.json", mark)

    def keep_receipt(self, name: str, raw: bytes) -> Path:
        """Write a receipt; what a process that was killed has left unfinished there is removed."""
        path = self.home / "receipts" / name
        with alone_in(path.parent), media_errors("cannot write", path):
            for part in path.parent.glob("*.part"):  # whoever writes here is alone: their writers are dead
                part.unlink()
            write_file(path, raw)
        return path

    def kept_receipts(self) -> list[Path]:
        """Those of loads here, and those of other sites, which have a folder each."""
        folder = self.home / "receipts"
        return sorted([*folder.glob("*.receipt.json"), *folder.glob("*/*.receipt.json")])

    def _mark(self, path: Path) -> Mark | None:
        if not exists(path):
            return None
        fields = Fields(parse_object(_read(path), str(path)), str(path))
        sha256 = Digest.parse(f"sha256:{fields.text('statement_sha256')}", str(path)).hex
        mark = Mark(fields.integer("epoch"), fields.integer("serial"), sha256)
        fields.end()
        return mark

    def _set_mark(self, path: Path, mark: Mark) -> None:
        value: Mapping[str, object] = {
            "epoch": mark.epoch,
            "serial": mark.serial,
            "statement_sha256": mark.statement_sha256,
        }
        write_file(path, dump(value) + b"\n")


def _save_key(
    key: SigningKey, path: Path, passphrase: bytes | None, before: Callable[[], object] = lambda: None
) -> None:
    """Write a private key, whole or not at all, where there is nothing; what is done `before` comes before it
    has its name. A process that was killed may have left one without.
    """
    part = path.with_name(path.name + ".part")
    with media_errors("cannot create", path):
        part.unlink(missing_ok=True)
    key.save(part, passphrase)
    before()
    with media_errors("cannot create", path):
        part.replace(path)
        sync_folder(path.parent)


def _no_passphrase() -> bytes:
    raise KeyFileError("the site's own key must not be encrypted")


def _read(path: Path) -> bytes:
    with media_errors("cannot read", path):
        raw = path.read_bytes()
    if len(raw) > 4 << 20:
        raise FormatError("too large", subject=path)
    return raw
