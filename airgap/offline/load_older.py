"""Loads an older bundle, which was accepted before, for its content only (FORMAT.md §7.1, rule 6)."""

from collections.abc import Sequence
from dataclasses import replace

from airgap.audit.receipt import CONTENT_ONLY, PRESENT
from airgap.bundle.statement import Statement
from airgap.carry.verify_small_files import VerifiedImage
from airgap.offline.load_engine import NAMELESS
from airgap.offline.loader import LoadedImage


def nameless(images: Sequence[VerifiedImage]) -> tuple[VerifiedImage, ...]:
    """Return the images, each once, named by its digest only."""
    by_name = {}
    for image in images:
        name = replace(image.name, tag=None, digest=image.record.digest)
        by_name[name] = replace(image, renamed=name)
    return tuple(by_name.values())


def explain_missing_names(results: list[LoadedImage], newer: Statement) -> list[LoadedImage]:
    """Return the results with the reason why the images have no tag."""
    for result in results:
        if result.verdict in PRESENT and result.reason in (None, NAMELESS):
            result.reason = f"{CONTENT_ONLY}: names come with {newer.title}"
    return results
