"""Verify the bundles for `serve`, with the same rules for their places in the stream as `load`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.accepted_bundles import needs
from airgap.carry.given import Given, by_stream, examine
from airgap.carry.operator import Operator
from airgap.carry.receiver import OlderRule, Receiver
from airgap.carry.rollback import check_place
from airgap.carry.verify import verify
from airgap.carry.verify_recorded import (
    bundle_attempt,
    bundle_details,
    keep_mark,
    keeper,
    verify_whole_bundle,
)
from airgap.errors import AirgapError, PolicyError
from airgap.offline.allowed_names import SERVED, rules_for
from airgap.offline.bundle_source import BundleSource
from airgap.offline.missing_base import explain_missing_base


@contextlib.contextmanager
def served(places: Sequence[BundleLocation], operator: Operator) -> Iterator[list[BundleSource | None]]:
    """Yield the bundles at `places`, in their order, after every byte is verified and their places in the
    stream are kept, as for loaded ones; None for a bundle that only has content for a newer one beside it.

    The newest bundle of a stream is checked as in `load`. An older one beside it is accepted only as the base
    of a newer one (a delta), and its names are not served: it would bring back replaced images.
    """
    given = [_given(place, operator) for place in places]
    receivers = {bundle.mark: _receiver_for(bundle, given, operator) for bundle in given}
    for bundle in given:
        verify_whole_bundle(
            bundle.location,
            bundle.site,
            operator.now,
            operator.jobs,
            operator.progress,
            who=receivers[bundle.mark],
        )
    with contextlib.ExitStack() as stack:
        sources: dict[int, BundleSource] = {}
        for bundle in given:
            folder = open_bundle(bundle.location)
            stack.callback(folder.close)
            sources[id(bundle)] = BundleSource(verify(folder, receivers[bundle.mark]), bundle.site)
        newest = {id(bundles[-1]) for bundles in by_stream(given)}
        for bundle in (bundle for bundle in given if id(bundle) in newest):
            beside = [sources[id(other)] for other in given if other.site.sender == bundle.site.sender]
            with explain_missing_base(sources[id(bundle)].bundle.statement, bundle.site, None):
                sources[id(bundle)].build_on(beside)
            _check_names(bundle, sources[id(bundle)])
        _accept(given, sources)
        _note_bases([bundle for bundle in given if id(bundle) not in newest], given, operator)
        yield [sources[id(bundle)] if id(bundle) in newest else None for bundle in given]


def _check_names(bundle: Given, source: BundleSource) -> None:
    """Raise `PolicyError`, and record it, if the sender may not set a name that would be served."""
    try:
        rules_for(bundle.site).check(source.bundle.images, SERVED)
    except PolicyError:
        with bundle_attempt(bundle.location, bundle.site, "serve") as attempt:
            attempt.add(**bundle_details(source.bundle))
            raise


def _accept(given: Sequence[Given], sources: dict[int, BundleSource]) -> None:
    """Keep the places of the bundles, oldest first, except of those older than the last accepted one."""
    for bundles in by_stream(given):
        for bundle in bundles:
            mark = bundle.site.received(bundle.statement.stream)
            if mark is None or bundle.place >= (mark.epoch, mark.serial):
                with bundle_attempt(bundle.location, bundle.site, "serve") as attempt:
                    verified = sources[id(bundle)].bundle
                    attempt.add(**bundle_details(verified))
                    keep_mark(verified, bundle.site, attempt)


def _note_bases(bases: Sequence[Given], given: Sequence[Given], operator: Operator) -> None:
    titles = {bundles[0].stream: bundles[-1].statement.title for bundles in by_stream(given)}
    for base in bases:
        newest = titles[base.stream]
        operator.progress.note(f"{base.statement.title}: content only: names come with {newest}")


def _given(place: BundleLocation, operator: Operator) -> Given:
    try:
        return examine(place, operator.site, operator.now, keep=True)
    except AirgapError:
        with bundle_attempt(place, operator.site, "verify"):
            raise


def _is_after(one: Given, other: Given) -> bool:
    return one.stream == other.stream and one.place > other.place


def _receiver_for(bundle: Given, given: Sequence[Given], operator: Operator) -> Receiver:
    """Return the receiver that checks the bundle. If a newer one beside it needs it, it may have been
    accepted before; if none does, the newer ones count as accepted, and it is refused.
    """
    who = keeper(bundle.site, operator.now, accept_jump=operator.accept_jump)
    newer = [other for other in given if _is_after(other, bundle)]
    for other in newer:  # a newer bundle that follows this one must name it
        check_place(other.statement, other.mark.statement_sha256, bundle.mark, accept_jump=True)
    if not newer:
        return who
    if any(needs(other.statement, bundle.statement) for other in newer):
        return replace(who, older=OlderRule.CONTENT)
    highest = max(newer, key=lambda other: other.place).mark
    return replace(who, mark=lambda _: highest)
