"""Verify the bundles for `serve`, with the same rules for their places in the stream as `load`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from airgap.audit.ledger import Attempt
from airgap.bundle.statement import Statement
from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.operator import Operator
from airgap.carry.stream_place import check_place
from airgap.carry.verify import Receiver, authenticate, verify
from airgap.carry.verify_recorded import (
    bundle_attempt,
    bundle_details,
    keep_mark,
    keeper,
    verify_whole_bundle,
)
from airgap.errors import AirgapError
from airgap.offline.bundle_source import BundleSource
from airgap.site import Mark


@dataclass(frozen=True, slots=True)
class _Given:
    """A bundle from the command line, with its signed statement."""

    place: BundleLocation
    statement: Statement
    mark: Mark


@contextlib.contextmanager
def served(places: Sequence[BundleLocation], operator: Operator) -> Iterator[list[BundleSource]]:
    """Yield the bundles at `places`, in their order, after every byte is verified and the high-water marks
    are raised as for loaded ones.

    The newest bundle of a stream is checked as in `load`. An older one beside it is accepted only as the base
    of a newer one (a delta): otherwise it would bring back images that were replaced.
    """
    who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
    given = [_given(place, operator, who) for place in places]
    receivers = {bundle.mark: _receiver_for(bundle, given, who) for bundle in given}
    for bundle in given:
        verify_whole_bundle(
            bundle.place,
            operator.site,
            operator.now,
            operator.jobs,
            operator.progress,
            who=receivers[bundle.mark],
        )
    with contextlib.ExitStack() as stack:
        sources = []
        for bundle in given:
            folder = open_bundle(bundle.place)
            stack.callback(folder.close)
            sources.append(BundleSource(verify(folder, receivers[bundle.mark])))
        for source in sources:
            source.build_on(sources)
        for bundle, source in zip(given, sources, strict=True):
            if _is_newest(bundle, given):
                with bundle_attempt(bundle.place, operator.site, "serve") as attempt:
                    _keep(source, operator, attempt)
        yield sources


def _keep(source: BundleSource, operator: Operator, attempt: Attempt) -> None:
    attempt.add(**bundle_details(source.bundle))
    keep_mark(source.bundle, operator.site, attempt)


def _given(place: BundleLocation, operator: Operator, who: Receiver) -> _Given:
    try:
        with open_bundle(place) as folder:
            authenticated = authenticate(folder, who)
    except AirgapError:
        with bundle_attempt(place, operator.site, "verify"):
            raise
    statement = authenticated.statement
    return _Given(place, statement, Mark(statement.epoch, statement.serial, authenticated.sha256))


def _is_newest(bundle: _Given, given: Sequence[_Given]) -> bool:
    return not any(_is_after(other, bundle) for other in given)


def _is_after(one: _Given, other: _Given) -> bool:
    same = one.statement.stream == other.statement.stream
    return same and (one.mark.epoch, one.mark.serial) > (other.mark.epoch, other.mark.serial)


def _receiver_for(bundle: _Given, given: Sequence[_Given], who: Receiver) -> Receiver:
    """Return the receiver that checks the bundle: against the site's mark or, for an older bundle, against
    the newer ones beside it.
    """
    newer = [other for other in given if _is_after(other, bundle)]
    for other in newer:  # a newer bundle that follows this one must name it
        check_place(other.statement, other.mark.statement_sha256, bundle.mark, accept_jump=True)
    if not newer:
        return who
    subjects = bundle.statement.subjects
    is_base = any(item.digest.path in subjects for other in newer for item in other.statement.requires)
    highest = max(newer, key=lambda other: (other.mark.epoch, other.mark.serial)).mark
    return replace(who, mark=lambda _: bundle.mark if is_base else highest)
