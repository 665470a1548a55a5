"""What a site keeps of a bundle: the trust roots that it brought, and its place in the stream.

Both are files first, and then in the record that ends the attempt. So a file never says less than the ledger
but when somebody has changed it, and a power cut between the two leaves an attempt without an end, which
explains what the ledger does not know (`airgap.site_check`).
"""

from airgap.audit.ledger import Attempt
from airgap.audit.record import NOTE
from airgap.carry.stream_place import check_place
from airgap.carry.verify import VerifiedBundle
from airgap.site import Mark, Site
from airgap.trust.root import SignedRoot


def keep_root(site: Site, root: SignedRoot) -> None:
    """Install a root that a bundle brought and that follows from the installed one."""
    site.install_root(root)
    about = {"root_version": root.root.version, "fingerprint": root.fingerprint}
    site.ledger().append("trust-change", NOTE, change="brought by a bundle", **about)


def keep_mark(bundle: VerifiedBundle, site: Site, attempt: Attempt) -> None:
    """Raise the mark of the bundle's stream; the `attempt` records it, whatever its end. Raises
    `RollbackError` when another process has accepted something else meanwhile.
    """
    statement = bundle.statement
    mark = Mark(statement.epoch, statement.serial, bundle.statement_sha256)
    with site.receiving():
        # once more: another load may have raised the mark since this one was verified
        before = site.received(statement.stream)
        check_place(statement, bundle.statement_sha256, before, accept_jump=True)
        if before != mark:
            site.set_received(statement.stream, mark)
        attempt.add(accepted={"stream": statement.stream, **mark.value})
