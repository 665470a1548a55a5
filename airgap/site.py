"""A site: one side's identity and memory, in the folder that `AIRGAP_HOME` names.

site.json               the site's name
site.key  site.pub      the site's own key: signs receipts, unattended, like an SSH host key
keys/<owner>.pem .pub   people's signing keys, encrypted
trust/<n>.root.json     the installed trust root and its successors
ledger.jsonl            the audit ledger
ledger.summary.json     signed summary of the ledger up to a certain line; only saves work
sent/<stream>.json      the last bundle sealed here
sent/<stream>/          the envelopes of all bundles sealed here
sent/<stream>.lock      held while a bundle of the stream is made
received/<stream>.json  the high-water mark: the newest bundle that was accepted here
received/<stream>/      the envelopes of all bundles accepted here
receipts/               signed receipts of loads here
receipts/<site>/        receipts that came back from other sites
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from airgap.account import ELSEWHERE, default_home
from airgap.audit.facts import AcceptedRecords, Mark
from airgap.audit.ledger import Ledger
from airgap.bundle.files import make_folder, media_errors, write_file
from airgap.bundle.locks import alone_in, lock
from airgap.bundle.statement import STREAM_GRAMMAR
from airgap.durable import exists, sync_folder
from airgap.errors import AirgapError, KeyFileError, MediaError, NoTrustRootError, TrustError, UsageError
from airgap.limits import MAX_PUBLIC_KEY_BYTES, MAX_ROOT_BYTES, MAX_ROOTS_BYTES, MAX_SITE_FILE_BYTES
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.owned import read_owned
from airgap.trust.keys import PublicKey, SigningKey
from airgap.trust.root import SignedRoot, TrustRoot, walk_roots

__all__ = ["Mark", "MarkKind", "Passphrase", "Site", "default_home", "now"]

Passphrase = Callable[[], bytes]
"""Returns the passphrase of a key file; called only if the key is encrypted."""

SITE_GRAMMAR = STREAM_GRAMMAR
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_ROOT_FILE = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)


def now() -> datetime:
    """Return the current time in whole seconds. A command reads it once and passes it on."""
    return datetime.now(UTC).replace(microsecond=0)


class MarkKind(StrEnum):
    """The marks of a stream, and the folders that they are in."""

    RECEIVED = "received"
    """The newest bundle that was accepted here."""
    SENT = "sent"
    """The last bundle that was sealed here."""


class Site:
    """The folder of one site. The constructor raises `UsageError` if there is no site yet."""

    def __init__(self, home: Path) -> None:
        self.home = home
        path = home / "site.json"
        if not exists(path, follow=False):
            raise UsageError(
                "there is no site here yet",
                subject=home,
                hint="the side that makes bundles runs `airgap init`; the side that receives them runs "
                "`airgap trust install BUNDLE --site NAME`, and so does who only signs them, before "
                "`airgap key generate OWNER`",
            )
        fields = Fields(parse_object(read_owned(path, MAX_SITE_FILE_BYTES), str(path)), str(path))
        self.name = fields.text("site")
        self.accepted = AcceptedRecords(self.ledger_path)

    @classmethod
    def create(cls, home: Path, name: str) -> Self:
        """Make a new site with its own key; an existing site is opened, and renamed if it was never used."""
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
        """Change the name, which is allowed only before anything was signed, sealed or accepted under it."""
        if any(exists(self.home / folder) for folder in ("keys", "sent", "received", "receipts")):
            raise UsageError(
                "this folder belongs to another site",
                subject=self.home,
                want=name,
                got=self.name,
                hint="a site that was used cannot be renamed; another site needs another AIRGAP_HOME",
            )
        self.put_name_back(name)

    def put_name_back(self, name: str) -> None:
        """Write the name that the ledger records."""
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

    def ledger(self, name: str = "") -> Ledger:
        """Return the audit ledger with this machine's clock; records name the site, or `name`."""
        return Ledger(self.ledger_path, site=name or self.name, clock=lambda: datetime.now().astimezone())

    # -- people's keys

    def key_path(self, owner: str) -> Path:
        """Return the path of the private key of `owner`."""
        if not _OWNER.fullmatch(owner):
            raise UsageError("not a key name", want="letters, digits, . _ -", got=repr(owner))
        return self.home / "keys" / f"{owner}.pem"

    def add_key(self, owner: str, key: SigningKey, passphrase: bytes | None) -> Path:
        """Store a new private key, and its public key beside it. Even after a power failure, each private key
        has its public key.
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

    def change_passphrase(self, owner: str, old: Passphrase, new: Passphrase) -> SigningKey:
        """Encrypt the private key of `owner` with another passphrase; it changes whole or not at all."""
        path = self.key_path(owner)
        with alone_in(self._folder("keys")):
            key = SigningKey.load(path, old)
            _save_key(key, path, new())
        return key

    def public_keys(self) -> dict[str, PublicKey]:
        """Return the public keys of the people's keys here, by owner."""
        paths = sorted((self.home / "keys").glob("*.pub"))
        return {
            path.stem: PublicKey.from_pem(read_owned(path, MAX_PUBLIC_KEY_BYTES), str(path)) for path in paths
        }

    def signing_key(self, owner: str | None, passphrase: Passphrase) -> SigningKey:
        """Return the private key of `owner`, or of `default_owner`."""
        return SigningKey.load(self.key_path(owner or self.default_owner()), passphrase)

    def default_owner(self) -> str:
        """Return the owner of the key that signs bundles here: the only one, or the only one with the role.

        Raises `KeyFileError` if there is none, or several.
        """
        keys = self.public_keys()
        owners = list(keys)
        if len(owners) > 1 and self.roots():
            root = self.root().root
            may_sign = root.roles["release"].keyids - root.revoked.keys()
            owners = [name for name, key in keys.items() if key.keyid in may_sign] or owners
        if len(owners) != 1:
            if not owners:
                hint = (
                    "`airgap key generate OWNER` makes one; then the sending side lets it sign with "
                    "`airgap trust add OWNER --key OWNER.pub`"
                )
                raise KeyFileError("no signing key here", subject=self.home, hint=hint)
            raise KeyFileError(
                "several signing keys match", subject=self.home, want="one signing key",
                got=", ".join(owners), hint="name one with `--key OWNER`",
            )  # fmt: skip
        return owners[0]

    # -- trust

    def roots(self) -> dict[int, bytes]:
        """Return the files of all installed roots, by version; empty if there are none."""
        raws = {}
        left = MAX_ROOTS_BYTES
        for path in (self.home / "trust").glob("*.root.json"):
            if match := _ROOT_FILE.fullmatch(path.name):
                raws[int(match[1])] = raw = read_owned(path, min(left, MAX_ROOT_BYTES))
                left -= len(raw)
        return dict(sorted(raws.items()))

    def root(self) -> SignedRoot:
        """Return the newest installed root, after a walk from the oldest one, which was installed by hand."""
        roots = self.roots()
        if not roots:
            raise NoTrustRootError(
                "no trust root is installed here",
                subject=self.home,
                hint="get the fingerprint from the sending side (`airgap trust show` there), then run "
                "`airgap trust install BUNDLE`",
            )
        oldest = min(roots)
        anchor = SignedRoot.parse(roots[oldest], str(self.home / "trust" / f"{oldest}.root.json"))
        newer = walk_roots(anchor, {version: raw for version, raw in roots.items() if version > oldest})
        newest = newer[-1] if newer else anchor
        if newest.root.version != max(roots):
            raise TrustError(
                "the installed trust roots do not follow one another", subject=self.home / "trust"
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
        with alone_in(self._folder("trust")):
            if self.roots().get(signed.root.version, signed.raw) != signed.raw:
                raise TrustError(
                    "another trust root of this version is installed here", subject=signed.root.name
                )
            write_file(self.home / "trust" / f"{signed.root.version}.root.json", signed.raw)

    def put_root_back(self, signed: SignedRoot) -> bool:
        """Restore a root that the caller has checked against the ledger; return False if it is present."""
        path = self.home / "trust" / f"{signed.root.version}.root.json"
        with alone_in(self._folder("trust")):
            with contextlib.suppress(AirgapError):
                if read_owned(path, MAX_ROOT_BYTES) == signed.raw:
                    return False
            write_file(path, signed.raw)
            return True

    # -- marks and envelopes of streams

    def sent(self, stream: str) -> Mark | None:
        """Return the last bundle of `stream` that was sealed here."""
        return self.mark(MarkKind.SENT, stream)

    def set_sent(self, stream: str, mark: Mark) -> None:
        """Record the last sealed bundle."""
        self.set_mark(MarkKind.SENT, stream, mark)

    @contextlib.contextmanager
    def packing(self, stream: str) -> Iterator[None]:
        """Keep other processes from making a bundle of `stream`, because both would get the same serial.

        Raises `UsageError` if another process is making one. The lock ends with the process that holds it.
        """
        path = self.home / "sent" / f"{stream}.lock"
        self._folder("sent")
        with media_errors("cannot lock", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            hint = "wait until the other `airgap pack` has finished, then run this one again"
            busy = UsageError("another bundle of this stream is being made", subject=stream, hint=hint)
            lock(fd, path, busy, required=True)
            yield
        finally:
            with contextlib.suppress(OSError):  # nothing was written
                os.close(fd)

    def keep_envelope(
        self, stream: str, serial: int, epoch: int, raw: bytes, kind: MarkKind = MarkKind.SENT
    ) -> None:
        """Store `raw`, the envelope of a bundle that was sealed or accepted here (FORMAT.md §12)."""
        self._folder(kind, stream)
        write_file(self.kept_envelope(stream, serial, epoch, kind), raw)

    def kept_envelope(
        self, stream: str, serial: int, epoch: int | None = None, kind: MarkKind = MarkKind.SENT
    ) -> Path:
        """Return the path of the copy, whether or not it exists; without `epoch`, for the newest epoch.

        Serials start again with each epoch. The file name of a copy from epoch 1 does not contain the epoch.
        """
        folder = self.home / kind / stream
        if epoch is None:
            copies = folder.glob(f"{serial:04d}.epoch*.dsse.json")
            names = (re.fullmatch(r"[0-9]+\.epoch([0-9]{1,9})\.dsse\.json", path.name) for path in copies)
            epoch = max((int(name[1]) for name in names if name), default=1)
        return folder / (f"{serial:04d}.dsse.json" if epoch == 1 else f"{serial:04d}.epoch{epoch}.dsse.json")

    def kept_envelopes(self, kind: MarkKind = MarkKind.SENT, stream: str = "*") -> list[Path]:
        """Return the copies of the envelopes of bundles sealed here, or accepted here."""
        return sorted((self.home / kind).glob(f"{stream}/*.dsse.json"))

    def received(self, stream: str) -> Mark | None:
        """Return the high-water mark of `stream`: the newest bundle that was accepted here."""
        return self.mark(MarkKind.RECEIVED, stream)

    def marked(self, kind: MarkKind) -> list[str]:
        """Return the streams that have a mark of `kind`."""
        names = (path.name.removesuffix(".json") for path in (self.home / kind).glob("*.json"))
        return sorted(name for name in names if STREAM_GRAMMAR.fullmatch(name))

    def receiving(self) -> AbstractContextManager[None]:
        """Lock the high-water marks, to read one and then raise it; other loads wait."""
        return alone_in(self._folder("received"))

    def set_received(self, stream: str, mark: Mark) -> None:
        """Raise the high-water mark, inside `receiving`. It is durable before any tag is moved."""
        self.set_mark(MarkKind.RECEIVED, stream, mark)

    def keep_receipt(self, name: str, raw: bytes) -> Path:
        """Write a receipt, and remove the unfinished files of processes that were killed."""
        path = self._folder("receipts") / name
        with alone_in(path.parent), media_errors("cannot write", path):
            for part in path.parent.glob("*.part"):  # the lock shows that their writers are dead
                part.unlink()
            write_file(path, raw)
        return path

    def kept_receipts(self) -> list[Path]:
        """Return the receipts of loads here, and those of other sites, which have a folder each."""
        folder = self.home / "receipts"
        return sorted([*folder.glob("*.receipt.json"), *folder.glob("*/*.receipt.json")])

    def mark(self, kind: MarkKind, stream: str) -> Mark | None:
        """Return a mark of `stream`, or None. Raises `FormatError` for a file that is not a mark."""
        path = self.home / kind / f"{stream}.json"
        if not exists(path, follow=False):
            return None
        fields = Fields(parse_object(read_owned(path, MAX_SITE_FILE_BYTES), str(path)), str(path))
        sha256 = Digest.parse(f"sha256:{fields.text('statement_sha256')}", str(path)).hex
        mark = Mark(fields.integer("epoch"), fields.integer("serial"), sha256)
        fields.end()
        return mark

    def set_mark(self, kind: MarkKind, stream: str, mark: Mark) -> None:
        """Write a mark durably."""
        write_file(self._folder(kind) / f"{stream}.json", dump(mark.value) + b"\n")

    def _folder(self, *names: str) -> Path:
        """Return a folder of the home; if it is missing, make it with mode 0700, whatever the umask."""
        path = self.home
        for name in names:
            path /= name
            with media_errors("cannot create", path):
                make_folder(path, 0o700)
        return path


def _save_key(
    key: SigningKey, path: Path, passphrase: bytes | None, before: Callable[[], object] = lambda: None
) -> None:
    """Write a private key to a new file, whole or not at all; `before` is called before the file gets its
    name. A process that was killed may have left an unfinished file, which is removed.
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
