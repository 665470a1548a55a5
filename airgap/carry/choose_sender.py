"""Finds the sender of a bundle (FORMAT.md §12.1), so that it is verified under that sender's root.

The choice is only a hint: it goes by the key ids in the envelope, which prove nothing. All of verification
then runs under the root of the one sender that was chosen, so a wrong choice can only refuse a bundle.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from airgap.bundle.files import Files
from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.operator import Operator
from airgap.carry.verify import read_envelope
from airgap.carry.verify_recorded import bundle_attempt
from airgap.errors import AirgapError, TrustError
from airgap.limits import MAX_ROOT_BYTES, MAX_ROOT_STEPS
from airgap.site import Site
from airgap.trust.root import SignedRoot


def site_for(location: BundleLocation, site: Site) -> Site:
    """Return the site with the state of the sender whose keys a bundle names; with that of the first sender
    if no sender has these keys, or if the bundle cannot be read, which verification reports.

    Raises `TrustError`, and records it, if the bundle names keys of several senders.
    """
    if not site.has_several_senders:
        return site
    with contextlib.ExitStack() as stack:
        try:
            folder = open_bundle(location, alone=True)
            stack.callback(folder.close)
        except AirgapError:
            return site
        try:
            return site_of(folder, site)
        except TrustError:
            with bundle_attempt(location, site, "verify"):
                raise


def site_of(folder: Files, site: Site) -> Site:
    """Return the same as `site_for` for an open bundle. Nothing is recorded."""
    if not site.has_several_senders:
        return site
    try:
        named = {signature.keyid for signature in read_envelope(folder).signatures}
    except AirgapError:
        return site
    senders = site.each_sender()
    found = [sender for sender in senders if named & _releasing(_installed(sender))]
    found = found or [
        sender for sender in senders if any(named & _releasing(r) for r in _newer(sender, folder))
    ]
    if len(found) > 1:
        raise TrustError(
            "signed by keys of several senders", subject=folder.path, want="one sender",
            got=", ".join(sender.sender_name for sender in found),
            hint="ask them which of them made it; `airgap trust list` shows the senders",
        )  # fmt: skip
    return found[0] if found else site


def operator_for(location: BundleLocation, operator: Operator) -> Operator:
    """Return the operator of the site with the state of the bundle's sender. Raises as `site_for` does."""
    return replace(operator, site=site_for(location, operator.site))


def _installed(sender: Site) -> SignedRoot | None:
    with contextlib.suppress(AirgapError):
        return sender.root()
    return None


def _releasing(signed: SignedRoot | None) -> frozenset[str]:
    return signed.root.roles["release"].keyids if signed else frozenset()


def _newer(sender: Site, folder: Files) -> Iterator[SignedRoot]:
    """Yield the roots in the bundle that follow the sender's. Nothing is kept; if another sender's roots are
    there, the walk ends, which is not an alarm.
    """
    last = _installed(sender)
    with contextlib.suppress(AirgapError):
        for _ in range(MAX_ROOT_STEPS):
            if last is None or not folder.has(name := f"trust/{last.root.version + 1}.root.json"):
                return
            last = last.successor(folder.read(name, MAX_ROOT_BYTES), folder.where(name))
            yield last
