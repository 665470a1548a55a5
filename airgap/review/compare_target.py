"""Compares what a target has now with what was loaded into it, by the receipts of this site."""

import fnmatch
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from airgap.audit.receipt import PRESENT, Receipt, ReceiptImage
from airgap.endpoints.ports import PresentImage, RegistryTarget, Target
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import is_fallback_tag
from airgap.review.records import KeptReceipt
from airgap.values import dataclass


class State(StrEnum):
    """How an image at the target agrees with the receipts."""

    SAME = "as loaded"
    EXPLAINED = "explained"
    """An accepted bundle brought it, but not under this name at this target."""
    MOVED = "moved"
    """The name means another image than was loaded under it."""
    MISSING = "missing"
    UNEXPLAINED = "unexplained"
    """No accepted bundle brought it."""


DRIFT = (State.UNEXPLAINED, State.MOVED, State.MISSING)
"""The states that a person must look into, the worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One image, or one name, with its state."""

    name: str
    """Empty for an image without a name."""
    state: State
    digest: Digest | None
    """What is there; None if nothing is, or if it cannot be read."""
    expected: Digest | None
    """What was loaded under the name; None if nothing was."""
    bundle: str
    """The title of the bundle that brought what was expected; empty if none did."""
    time: datetime | None
    """When that was loaded."""


@dataclass(frozen=True, slots=True)
class _Expected:
    reference: ImageReference
    digest: Digest
    receipt: KeptReceipt


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found at a target, the findings to look into first."""

    findings: tuple[Finding, ...]
    unlisted: EndpointError | None
    """Why only what was loaded was compared: the registry does not list its repositories."""


def compare(
    target: Target, receipts: Sequence[KeptReceipt], site: str, ignore: Iterable[str] = ()
) -> Comparison:
    """Compare everything that is at the target or should be.

    Args:
        target: The target, which is listed now.
        receipts: All receipts that this site keeps, the oldest first.
        site: The name of this site; receipts of others say nothing about its targets.
        ignore: Patterns of names that are left out, as in `registry.k8s.io/pause*`.

    Raises:
        EndpointError: The target cannot be reached, or cannot list its images and is not a registry.
    """
    own = [receipt for receipt in receipts if receipt.receipt.site == site]
    expected = _expected(target, own)
    known = _explained(receipt.receipt for receipt in own)
    present, unlisted = _present(target, expected)
    digests = {image.digest for image in present}
    keys = {target.kept_name(image.name) for image in present if image.name is not None}
    findings = [_judge(image, expected.get(_key(target, image)), known) for image in present]
    for key, item in expected.items():
        nameless = item.reference.tag is None and item.digest in digests
        if key not in keys and not nameless:
            findings.append(_finding(str(item.reference), State.MISSING, None, item))
    patterns = tuple(ignore)
    shown = [f for f in findings if not any(fnmatch.fnmatchcase(f.name, pattern) for pattern in patterns)]
    order = [*DRIFT, State.EXPLAINED, State.SAME]
    shown.sort(key=lambda finding: (order.index(finding.state), finding.name, str(finding.digest)))
    return Comparison(tuple(shown), unlisted)


def _present(
    target: Target, expected: Mapping[Hashable, _Expected]
) -> tuple[list[PresentImage], EndpointError | None]:
    """List the target. A registry may list nothing, or less than it has, so it is asked for what is not in
    its list.
    """
    if not isinstance(target, RegistryTarget):
        return list(target.present()), None
    present: list[PresentImage] = []
    unlisted = None
    try:
        present += target.present()
    except UnavailableError:
        raise
    except EndpointError as error:
        unlisted = error
    listed = {_key(target, image) for image in present}
    for key, item in expected.items():
        if key not in listed and (digest := target.find(item.reference)) is not None:
            present.append(PresentImage(item.reference, str(item.reference), digest))
    return present, unlisted


def loaded_targets(receipts: Iterable[KeptReceipt], site: str) -> list[str]:
    """Return the targets at this site that have receipts."""
    return sorted({kept.receipt.target for kept in receipts if kept.receipt.site == site})


def _expected(target: Target, receipts: Iterable[KeptReceipt]) -> dict[Hashable, _Expected]:
    """Return what each name at the target should mean: the last load that succeeded counts."""
    expected: dict[Hashable, _Expected] = {}
    for kept in receipts:
        if kept.receipt.target != target.name:
            continue
        for image in kept.receipt.images:
            if image.verdict in PRESENT:
                reference = ImageReference.parse(image.reference)
                expected[target.kept_name(reference)] = _Expected(reference, _digest(image), kept)
        for name in kept.receipt.pruned:
            expected.pop(target.kept_name(ImageReference.parse(name.reference)), None)
    return expected


def _digest(image: ReceiptImage) -> Digest:
    return Digest.parse(image.target_digest or image.digest)


def _explained(receipts: Iterable[Receipt]) -> set[Digest]:
    """Return the digests that accepted bundles brought to any target of this site."""
    known: set[Digest] = set()
    for receipt in receipts:
        known.update(map(Digest.parse, receipt.holds))
        for image in receipt.images:
            if image.verdict in PRESENT:
                known |= {Digest.parse(image.digest), _digest(image)}
    return known


def _key(target: Target, image: PresentImage) -> Hashable:
    return None if image.name is None else target.kept_name(image.name)


def _judge(image: PresentImage, expected: _Expected | None, known: set[Digest]) -> Finding:
    if expected is not None:
        same = image.digest == expected.digest
        return _finding(image.shown, State.SAME if same else State.MOVED, image.digest, expected)
    is_known = image.digest in known or _lists_known(image, known)
    return _finding(image.shown, State.EXPLAINED if is_known else State.UNEXPLAINED, image.digest, None)


def _lists_known(image: PresentImage, known: set[Digest]) -> bool:
    """Return whether it is the list of attachments of a known image, which loading them writes."""
    tag = image.name.tag if image.name else None
    return tag is not None and is_fallback_tag(tag) and tag in {str(d).replace(":", "-")[:71] for d in known}


def _finding(name: str, state: State, digest: Digest | None, expected: _Expected | None) -> Finding:
    if expected is None:
        return Finding(name, state, digest, None, "", None)
    kept = expected.receipt
    return Finding(name, state, digest, expected.digest, kept.title, kept.receipt.time)
