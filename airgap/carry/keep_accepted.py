"""Keep what a site learns from a bundle: its trust roots, and its place in the stream.

Both are written to files first and then to the record that ends the attempt. So a file is never older than
the ledger unless somebody has changed it, and a power cut between the two leaves an attempt without an end,
which explains the newer file (`airgap.site_check`).
"""

from airgap.audit.ledger import Attempt
from airgap.audit.record import NOTE
from airgap.carry.stream_place import check_place
from airgap.carry.verify import VerifiedBundle
from airgap.site import Mark, Site
from airgap.trust.root import SignedRoot


def keep_root(site: Site, root: SignedRoot) -> None:
    """Install a root from a bundle that follows from the installed one."""
    site.install_root(root)
    about = {"root_version": root.root.version, "fingerprint": root.fingerprint}
    site.ledger().append("trust-change", NOTE, change="brought by a bundle", **about)


def keep_mark(bundle: VerifiedBundle, site: Site, attempt: Attempt) -> None:
    """Raise the high-water mark of the bundle's stream, and add it to the record that ends the `attempt`.
    Raises `RollbackError` when another process has accepted another bundle meanwhile.
    """
    statement = bundle.statement
    mark = Mark(statement.epoch, statement.serial, bundle.statement_sha256)
    with site.receiving():
        # check again: another load may have raised the mark since this bundle was verified
        before = site.received(statement.stream)
        check_place(statement, bundle.statement_sha256, before, accept_jump=True)
        if before != mark:
            site.set_received(statement.stream, mark)
        attempt.add(accepted={"stream": statement.stream, **mark.value})
