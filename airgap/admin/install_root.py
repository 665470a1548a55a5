"""Install a trust root: the one decision that a person makes without a signature."""

from dataclasses import dataclass
from pathlib import Path

from airgap.audit.facts import read_facts
from airgap.bundle.files import Folder
from airgap.durable import exists
from airgap.errors import TrustError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.site import Site
from airgap.trust.root import SignedRoot, walk_roots

_FULL = 64


@dataclass(frozen=True, slots=True)
class Installed:
    """The result of `install_root`."""

    site: str
    owners: tuple[str, ...]
    fresh: bool


def read_root(path: Path) -> SignedRoot:
    """Read a root from a file. Its own signature is checked, which does not make it trusted."""
    with Folder(path.absolute().parent) as folder:
        return SignedRoot.parse(folder.read(path.name, MAX_ENVELOPE_BYTES), str(path))


def install_root(
    home: Path, name: str | None, signed: SignedRoot, fingerprint: str | None, *, default: str = "site"
) -> Installed:
    """Trust `signed` from now on. If there is no site at `home`, make one, named `name` or else `default`.

    The first root needs its `fingerprint`, which a person got through another channel. Later ones must follow
    the installed one by their signatures; a given fingerprint is still compared. Raises `UsageError` for a
    new name once the site has received or signed anything.
    """
    releasing = signed.root.roles["release"].keyids
    owners = tuple(sorted({key.owner for keyid, key in signed.root.keys.items() if keyid in releasing}))
    if not exists(home / "site.json"):
        _compare(signed, fingerprint)
        Site.create(home, name or default)
    site = Site(home)
    about = {"root_version": signed.root.version, "expects": signed.fingerprint}
    with site.ledger().attempt("trust-change", change="install", **about) as attempt:
        attempt.add(root_version=signed.root.version, fingerprint=signed.fingerprint)
        recorded = read_facts(site.ledger_path).roots.get(signed.root.version)
        if fingerprint is not None or (recorded is None and not site.roots()):
            _compare(signed, fingerprint)
        if name not in (None, site.name):
            attempt.add(renamed={"from": site.name, "to": name})
            site = Site.create(home, name)
        fresh = _put_back(site, signed, recorded) if recorded is not None else _install(site, signed)
    return Installed(site.name, owners, fresh)


def _put_back(site: Site, signed: SignedRoot, recorded: str) -> bool:
    """Restore a root that was installed before. Raises `TrustError` unless the ledger recorded the same."""
    if signed.fingerprint != recorded:
        if site.roots():
            _successor(site, signed)
        raise TrustError(
            "another trust root of this version was installed here", subject=signed.root.name,
            want=recorded, got=signed.fingerprint,
        )  # fmt: skip
    return site.put_root_back(signed)


def _install(site: Site, signed: SignedRoot) -> bool:
    installed = site.roots()
    fresh = installed.get(signed.root.version) != signed.raw
    if fresh:
        site.install_root(_successor(site, signed) if installed else signed)
    return fresh


def _compare(signed: SignedRoot, fingerprint: str | None) -> None:
    subject = f"trust root {signed.root.version}"
    if fingerprint is None:
        raise UsageError(
            "--fingerprint is missing",
            subject=subject,
            hint="ask the sending side for it (`airgap trust show`), through another channel than the file",
        )
    given = "".join(fingerprint.lower().split()).replace(":", "")
    if len(given) != _FULL:
        raise UsageError("not a fingerprint", subject=subject, want="64 hex digits", got=f"{len(given)}")
    if given != signed.fingerprint:
        raise TrustError(
            "wrong fingerprint",
            subject=subject,
            want=given,
            got=signed.fingerprint,
            hint="the file is not the trust root of the sending side: do not use it",
        )


def _successor(site: Site, signed: SignedRoot) -> SignedRoot:
    """Return `signed` when it follows from the installed root. Raises `TrustError` otherwise."""
    current = site.root()
    newer = walk_roots(current, {signed.root.version: signed.raw})
    if newer:
        return newer[-1]
    if current.root.keys.keys().isdisjoint(signed.root.keys):
        owners = ", ".join(current.root.owners(current.root.roles["release"].keyids))
        raise TrustError(
            "this is another sender's trust root",
            subject=f"trust root {signed.root.version}",
            want=f"one that follows the installed root of {owners}",
            hint="a site trusts one sending side; use another AIRGAP_HOME for this one",
        )
    raise TrustError(
        "does not follow the installed trust root",
        subject=f"trust root {signed.root.version}",
        want=f"version {current.root.version + 1}, signed by version {current.root.version}",
        hint="install the versions in between first; every bundle contains them",
    )
