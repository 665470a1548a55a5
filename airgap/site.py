"""A site: one side's identity and memory, in the folder that `AIRGAP_HOME` names.

site.json               the site's name
site.key  site.pub      the site's own key: signs receipts, unattended, like an SSH host key
keys/<owner>.pem .pub   people's signing keys, encrypted
trust/, received/       the state of the first sender (sender_state.py)
senders/<name>/         the state of another one, in the same form
ledger.jsonl            the audit ledger
ledger.summary.json     signed summary of the ledger up to a certain line; only saves work
sent/<stream>.json      the last bundle sealed here
sent/<stream>/          the envelopes of all bundles sealed here
sent/<stream>.lock      held while a bundle of the stream is made
receipts/               signed receipts of loads here
receipts/<site>/        receipts that came back from other sites
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from airgap.account import ELSEWHERE, default_home
from airgap.audit.facts import Mark
from airgap.audit.ledger import Ledger
from airgap.bundle.files import make_folder, media_errors, write_file
from airgap.bundle.locks import alone_in, lock
from airgap.bundle.stream_name import STREAM_GRAMMAR
from airgap.durable import exists, sync_folder
from airgap.errors import KeyFileError, MediaError, TrustError, UsageError
from airgap.limits import MAX_PUBLIC_KEY_BYTES, MAX_SENDERS, MAX_SITE_FILE_BYTES
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.owned import read_owned
from airgap.sender_state import SENDER_FILE, SENDER_GRAMMAR, SENDERS, MarkKind, SenderState
from airgap.trust.keys import PublicKey, SigningKey
from airgap.trust.root import SignedRoot
from airgap.trust.site_key import load_site_key

__all__ = ["Mark", "MarkKind", "Passphrase", "Site", "default_home", "now"]

Passphrase = Callable[[], bytes]
"""Returns the passphrase of a key file; called only if the key is encrypted."""

SITE_GRAMMAR = STREAM_GRAMMAR
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


def now() -> datetime:
    """Return the current time in whole seconds. A command reads it once and passes it on."""
    return datetime.now(UTC).replace(microsecond=0)


class Site(SenderState):
    """The folder of one site, with the state of one sender. The constructor raises `UsageError` if there is
    no site yet.
    """

    def __init__(self, home: Path, sender: str = "") -> None:
        """Open the site, with the state of the first sender, or of the one with this name."""
        super().__init__(home, sender)
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
        key = load_site_key(home / "site.key")
        write_file(home / "site.pub", key.public_key.pem.encode())
        write_file(home / "site.json", dump({"version": 1, "site": name}) + b"\n")
        return cls(home)

    def _rename(self, name: str) -> None:
        """Change the name, which is allowed only before anything was signed, sealed or accepted under it."""
        if any(exists(self.home / folder) for folder in ("keys", "sent", "received", "receipts", SENDERS)):
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
        return load_site_key(self.home / "site.key")

    @property
    def ledger_path(self) -> Path:
        """The file of the audit ledger."""
        return self.home / "ledger.jsonl"

    def ledger(self, name: str = "") -> Ledger:
        """Return the audit ledger with this machine's clock; records name the site, or `name`, and a sender
        that is not the first one.
        """
        about = {"sender": self.sender} if self.sender else {}
        return Ledger(
            self.ledger_path, site=name or self.name, clock=lambda: datetime.now().astimezone(), about=about
        )

    # -- senders

    def from_sender(self, sender: str) -> "Site":
        """Return this site with the state of `sender`, which need not exist yet; empty for the first one."""
        return self if sender == self.sender else Site(self.home, sender)

    def other_senders(self) -> list[str]:
        """Return the names of the senders after the first one. Raises `UsageError` for too many."""
        paths = (self.home / SENDERS).glob(f"*/{SENDER_FILE}")
        names = sorted(path.parent.name for path in paths if SENDER_GRAMMAR.fullmatch(path.parent.name))
        if len(names) > MAX_SENDERS:
            raise UsageError("too many senders", subject=self.home / SENDERS, want=f"at most {MAX_SENDERS}")
        return names

    def each_sender(self) -> "list[Site]":
        """Return this site with the state of each sender, the first one first."""
        return [self.from_sender(name) for name in ("", *self.other_senders())]

    def refused_names(self, sender: str, names: Iterable[ImageReference]) -> list[ImageReference]:
        """Return the names that a sender may not set at any target, so that a load needs `--map` for them.

        Args:
            sender: The sender's name; empty if there is only one.
            names: The names of the images in its bundle.
        """
        state = next(state for state in self.each_sender() if sender in ("", state.sender_name))
        rules = state.settings.rules
        return [] if rules is None else rules.refused_everywhere(names)

    def install_root(self, signed: SignedRoot) -> None:
        """Store a root. Raises `TrustError` if a key in it belongs to another sender, because the bundles of
        the two could then not be told apart.
        """
        self._refuse_keys_of_others(signed)
        super().install_root(signed)

    def put_root_back(self, signed: SignedRoot) -> bool:
        """Restore a root. Raises `TrustError` as `install_root` does for a key of another sender."""
        self._refuse_keys_of_others(signed)
        return super().put_root_back(signed)

    def _refuse_keys_of_others(self, signed: SignedRoot) -> None:
        for other in self.each_sender():
            if other.sender == self.sender or not other.roots():
                continue
            if shared := signed.root.signing_keyids & other.root().root.signing_keyids:
                raise TrustError(
                    f"a key in this trust root belongs to the sender {other.sender_name}",
                    subject=signed.root.name, want="keys that no other sender has here",
                    got=", ".join(sorted(shared)),
                    hint="ask both senders whose key it is: it must not sign for both of them",
                )  # fmt: skip

    @property
    def has_several_senders(self) -> bool:
        """Whether there are senders besides the first one."""
        return bool(self.other_senders())

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

    # -- what was sealed here, and receipts

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
