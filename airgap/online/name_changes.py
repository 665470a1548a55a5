"""How the names of a plan differ from the last bundle of the stream that was sealed here."""

import contextlib
from collections.abc import Mapping
from dataclasses import field

from airgap.bundle.files import Folder
from airgap.bundle.statement import Statement
from airgap.carry.compare_images import Change
from airgap.errors import AirgapError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.site import Site
from airgap.trust.envelope import Envelope
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class LastSealed:
    """The images of the last bundle of a stream."""

    title: str | None = None
    """None if no bundle was sealed here, or its copy is missing."""
    digests: Mapping[ImageReference, Digest] = field(default_factory=dict, hash=False)

    def change(self, name: ImageReference, digest: Digest) -> Change:
        """Return how a name changes at a site that has that bundle."""
        if self.title is None:
            return Change.UNKNOWN
        before = self.digests.get(name.kept)
        return Change.ADDED if before is None else Change.SAME if before == digest else Change.MOVED


def last_sealed(site: Site, stream: str) -> LastSealed:
    """Return the images of the last bundle of `stream` that was sealed here, from the copy of it."""
    mark = site.sent(stream)
    if mark is None:
        return LastSealed()
    kept = site.kept_envelope(stream, mark.serial, mark.epoch)
    with contextlib.suppress(AirgapError), Folder(kept.parent) as folder:
        payload = Envelope.parse(folder.read(kept.name, MAX_ENVELOPE_BYTES), str(kept)).payload
        statement = Statement.parse(payload)
        return LastSealed(statement.title, {image.name.kept: image.digest for image in statement.images})
    return LastSealed()
