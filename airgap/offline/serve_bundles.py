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
from airgap.errors import AirgapError
from airgap.offline.bundle_source import BundleSource
from airgap.offline.missing_base import explained


@contextlib.contextmanager
def served(places: Sequence[BundleLocation], operator: Operator) -> Iterator[list[BundleSource | None]]:
    """Yield the bundles at `places`, in their order, after every byte is verified and their places in the
    stream are kept, as for loaded ones; None for a bundle that only has content for a newer one beside it.

    The newest bundle of a stream is checked as in `load`. An older one beside it is accepted only as the base
    of a newer one (a delta), and its names are not served: it would bring back replaced images.
    """
    who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
    given = [_given(place, operator, who) for place in places]
    receivers = {bundle.mark: _receiver_for(bundle, given, who) for bundle in given}
    for bundle in given:
        verify_whole_bundle(
            bundle.location,
            operator.site,
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
            sources[id(bundle)] = BundleSource(verify(folder, receivers[bundle.mark]))
        newest = {id(bundles[-1]) for bundles in by_stream(given)}
        for number in newest:
            source = sources[number]
            with explained(source.bundle.statement, operator.site, None):
                source.build_on(list(sources.values()))
        _accept(given, sources, operator)
        _note_bases([bundle for bundle in given if id(bundle) not in newest], given, operator)
        yield [sources[id(bundle)] if id(bundle) in newest else None for bundle in given]


def _accept(given: Sequence[Given], sources: dict[int, BundleSource], operator: Operator) -> None:
    """Keep the places of the bundles, oldest first, except of those older than the last accepted one."""
    for bundles in by_stream(given):
        for bundle in bundles:
            mark = operator.site.received(bundle.statement.stream)
            if mark is None or bundle.place >= (mark.epoch, mark.serial):
                with bundle_attempt(bundle.location, operator.site, "serve") as attempt:
                    verified = sources[id(bundle)].bundle
                    attempt.add(**bundle_details(verified))
                    keep_mark(verified, operator.site, attempt)


def _note_bases(bases: Sequence[Given], given: Sequence[Given], operator: Operator) -> None:
    titles = {bundles[0].statement.stream: bundles[-1].statement.title for bundles in by_stream(given)}
    for base in bases:
        newest = titles[base.statement.stream]
        operator.progress.note(f"{base.statement.title}: content only: names come with {newest}")


def _given(place: BundleLocation, operator: Operator, who: Receiver) -> Given:
    try:
        return examine(place, who)
    except AirgapError:
        with bundle_attempt(place, operator.site, "verify"):
            raise


def _is_after(one: Given, other: Given) -> bool:
    return one.statement.stream == other.statement.stream and one.place > other.place


def _receiver_for(bundle: Given, given: Sequence[Given], who: Receiver) -> Receiver:
    """Return the receiver that checks the bundle. If a newer one beside it needs it, it may have been
    accepted before; if none does, the newer ones count as accepted, and it is refused.
    """
    newer = [other for other in given if _is_after(other, bundle)]
    for other in newer:  # a newer bundle that follows this one must name it
        check_place(other.statement, other.mark.statement_sha256, bundle.mark, accept_jump=True)
    if not newer:
        return who
    if any(needs(other.statement, bundle.statement) for other in newer):
        return replace(who, older=OlderRule.CONTENT)
    highest = max(newer, key=lambda other: other.place).mark
    return replace(who, mark=lambda _: highest)
