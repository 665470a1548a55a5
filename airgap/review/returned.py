"""Keeps a receipt that `send` brought back over the link that the bundle went out by."""

from datetime import datetime
from pathlib import Path

from airgap.audit.receipt import Receipt
from airgap.bundle.volumes import BundleLocation
from airgap.carry.receipt_copies import RECEIPT_SUFFIX, copy_beside
from airgap.carry.send import ReturnedReceipt
from airgap.carry.verify import CheckedBundle
from airgap.durable import exists
from airgap.errors import TrustError
from airgap.oci.digest import Digest
from airgap.prove_receipt import prove_receipt
from airgap.review.receipts import import_receipt
from airgap.site import Site
from airgap.trust.envelope import Envelope


def take_returned(
    bundle: CheckedBundle, where: str, raw: bytes, *, site: Site, location: BundleLocation, now: datetime
) -> ReturnedReceipt:
    """Import the receipt if the bundle was sealed here. Otherwise this is a station on the way: the receipt
    is copied beside the bundle, from where it goes home.

    Args:
        bundle: The bundle that was sent.
        where: Host and path that the receipt was read from.
        raw: The bytes of the receipt.
        site: This site.
        location: The bundle's place here.
        now: The time of the command.

    Raises:
        AirgapError: The receipt is not proved by the trust root, or is of another bundle.
    """
    receipt = prove_receipt(Envelope.parse(raw, where), site.root().root, now, where)
    _refuse_other_bundle(receipt, bundle, where)
    statement = bundle.statement
    if exists(site.kept_envelope(statement.stream, statement.serial, statement.epoch)):
        imported = import_receipt(site, Path(where), raw, now)
        return ReturnedReceipt(imported.kept.path, imported.alarms)
    name = f"{receipt.site}-{statement.title}-{Digest.of(raw).hex[:16]}{RECEIPT_SUFFIX}"
    copies = copy_beside(location, name, raw)
    for copy in copies:
        if copy.error is not None:
            raise copy.error
    return ReturnedReceipt(copies[0].path)


def _refuse_other_bundle(receipt: Receipt, bundle: CheckedBundle, where: str) -> None:
    if receipt.statement_sha256 != bundle.statement_sha256:
        raise TrustError(
            "the host returned the receipt of another bundle", subject=where,
            want=bundle.statement_sha256, got=receipt.statement_sha256,
        )  # fmt: skip
