"""The public interface of the library. Everything else in the package may change between versions.

    from pathlib import Path
    from airgap import api

    bundle = api.verify([Path("/media/stick/edge-0007")])
    for image in bundle.images:
        print(image.name, image.digest)
    receipt = api.read_receipt(Path("plant-7-edge-0007-5.receipt.json"))

The functions use the site in `AIRGAP_HOME`, as the commands do. They raise the errors of `airgap.errors`,
which have the exit codes of the commands.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from airgap.carry.choose_sender import site_for
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_recorded import keeper, verify_whole_bundle
from airgap.errors import AirgapError
from airgap.progress import Silent
from airgap.prove_receipt import prove_receipt
from airgap.review.records import read_file
from airgap.site import default_home
from airgap.site import now as clock
from airgap.site_check import CheckedSite, check_site
from airgap.trust.envelope import Envelope
from airgap.values import dataclass

__all__ = ["AirgapError", "Bundle", "File", "Image", "Receipt", "ReceiptImage", "read_receipt", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a bundle carries beside images."""

    name: str
    """Its name on the isolated side, with `/` for folders."""
    mode: str
    """`0644` or `0755`."""
    digest: str
    """`sha256:` and 64 hex digits."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, files or another artifact of a bundle."""

    name: str
    """Its name on the isolated side."""
    reference: str
    """Its name at the source."""
    digest: str
    """Of its image index or image manifest: `sha256:` and 64 hex digits."""
    kind: str
    """`image`, `artifact` or `files`."""
    platforms: tuple[str, ...]
    source: str
    files: tuple[File, ...] = ()
    """The files of the kind `files`; none of any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that passed all steps of verification (FORMAT.md §7)."""

    stream: str
    serial: int
    epoch: int
    statement_sha256: str
    created: datetime
    expires: datetime
    destinations: tuple[str, ...]
    total_bytes: int
    images: tuple[Image, ...]
    owners: tuple[str, ...]
    """The people whose signatures count."""
    key_ids: tuple[str, ...]
    """Their keys: SHA-256 of the public key (SubjectPublicKeyInfo in DER), 64 hex digits each."""
    transfer: tuple[tuple[str, str], ...]
    """What the sender states about the transfer: ticket, approver, classification."""
    alarms: tuple[str, ...]
    """Where the site's own files and its ledger disagree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptImage:
    """What a receipt says about one image."""

    name: str
    digest: str
    verdict: str
    """`loaded`, `placed`, `already there`, `skipped` or `failed` (docs/targets.md)."""
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a site says that it loaded. The signature is checked; whether it is true is not."""

    site: str
    stream: str
    serial: int
    statement_sha256: str
    time: datetime
    result: str
    """`ok`, `partial` or `failed`."""
    target: str
    images: tuple[ReceiptImage, ...]


def verify(volumes: Sequence[Path], *, home: Path | None = None, jobs: int = 2) -> Bundle:
    """Verify a bundle for this site, every byte of it, and record that in the ledger, as the command does.

    Args:
        volumes: The bundle's folder or tar, or the folders of all its volumes.
        home: The site's folder; by default what `AIRGAP_HOME` says.
        jobs: How many files are hashed at a time.

    Raises:
        AirgapError: The bundle is refused, or the site's own files are not in order.
    """
    checked = _site(home)
    location = volumes[0] if len(volumes) == 1 else tuple(volumes)
    site = site_for(location, checked.site)
    bundle = verify_whole_bundle(location, site, checked.now, jobs, Silent(), who=keeper(site, checked.now))
    return _bundle(bundle, tuple(checked.alarms))


def read_receipt(path: Path, *, home: Path | None = None) -> Receipt:
    """Read a receipt whose signature is valid under the trust root, or is this site's own.

    Raises:
        AirgapError: The file is not a receipt, or no site that the trust root knows signed it.
    """
    checked = _site(home)
    envelope = Envelope.parse(read_file(path), str(path))
    own = (checked.site.name, checked.site.key.public_key)
    receipt = prove_receipt(envelope, checked.site.root().root, checked.now, str(path), own)
    return Receipt(
        site=receipt.site,
        stream=receipt.bundle_stream,
        serial=receipt.serial,
        statement_sha256=receipt.statement_sha256,
        time=receipt.time,
        result=receipt.result,
        target=receipt.target,
        images=tuple(
            ReceiptImage(
                name=image.reference, digest=image.digest, verdict=str(image.verdict), error=image.error
            )
            for image in receipt.images
        ),
    )


def _site(home: Path | None) -> CheckedSite:
    return check_site(home or default_home(), clock())


def _bundle(bundle: VerifiedBundle, alarms: tuple[str, ...]) -> Bundle:
    statement = bundle.statement
    return Bundle(
        stream=statement.stream,
        serial=statement.serial,
        epoch=statement.epoch,
        statement_sha256=bundle.statement_sha256,
        created=statement.created,
        expires=statement.expires,
        destinations=tuple(statement.destinations),
        total_bytes=statement.total_bytes,
        images=tuple(
            Image(
                name=str(record.name),
                reference=str(record.reference),
                digest=str(record.digest),
                kind=str(record.kind),
                platforms=tuple(platform.platform for platform in record.platforms),
                source=record.source,
                files=tuple(
                    File(name=item.name, mode=str(item.mode), digest=str(item.digest), size=item.size)
                    for item in record.files
                ),
            )
            for record in statement.images
        ),
        owners=bundle.verdict.owners,
        key_ids=bundle.verdict.keyids,
        transfer=tuple(sorted(statement.transfer.items())),
        alarms=alarms,
    )
