"""Compares what files run with what a manifest carries."""

from airgap.discover.findings import Certainty, DiscoveredImage, Discovery
from airgap.manifest import TransferManifest
from airgap.oci.reference import ImageReference
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences between the files and a manifest."""

    missing: tuple[DiscoveredImage, ...]
    """Images that the files run, and the manifest does not carry."""
    unused: tuple[ImageReference, ...]
    """Images of the manifest that no place in the files names."""
    is_partial: bool
    """Whether the manifest has archives or layouts, whose images are not known."""


def compare(discovery: Discovery, manifest: TransferManifest, *, guesses: bool = False) -> Comparison:
    """Return the differences. Names are compared as the offline side knows them, without digests beside tags.

    Args:
        discovery: What the files run.
        manifest: What is carried.
        guesses: Whether guesses must be carried too.
    """
    entries = [entry for entry in manifest.images if entry.name is not None]
    carried = {name.normal for entry in entries for name in (entry.name, entry.reference) if name is not None}
    needed = [
        image for image in discovery.images
        if not image.optional and (guesses or image.certainty is not Certainty.GUESS)
    ]  # fmt: skip
    named = {image.reference.normal for image in discovery.images}
    return Comparison(
        missing=tuple(image for image in needed if image.reference.normal not in carried),
        unused=tuple(
            entry.name for entry in entries
            if entry.name and not {name.normal for name in (entry.name, entry.reference) if name} & named
        ),
        is_partial=len(entries) < len(manifest.images),
    )  # fmt: skip
