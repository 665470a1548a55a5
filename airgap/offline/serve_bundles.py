"""The bundles that `serve` hands out: judged by their places in the stream as those that are loaded."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from airgap.audit.ledger import Attempt
from airgap.bundle.statement import Statement
from airgap.bundle.volumes import Place, open_bundle
from airgap.carry.keep_accepted import keep_mark
from airgap.carry.operator import Operator
from airgap.carry.stream_place import check_place
from airgap.carry.verify import Receiver, authenticate
from airgap.carry.verify_recorded import bundle_details, keeper, recorded, verify_bundle
from airgap.errors import AirgapError
from airgap.offline.bundle_source import BundleSource, bundle_source
from airgap.site import Mark


@dataclass(frozen=True, slots=True)
class _Given:
    """A bundle of the command line, as its signed statement says."""

    place: Place
    statement: Statement
    mark: Mark


@contextlib.contextmanager
def served(places: Sequence[Place], operator: Operator) -> Iterator[list[BundleSource]]:
    """The bundles at `places`, in their order, every byte of them verified; their places are remembered as
    those of loaded ones, before anything is handed out.

    The newest of a stream is judged as `load` does. An older one beside it is taken when a newer one builds
    on it (a delta's base), and refused else: it would bring back what was replaced.
    """
    who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
    given = [_given(place, operator, who) for place in places]
    judges = {each.mark: _judge(each, given, who) for each in given}
    for each in given:
        verify_bundle(
            each.place, operator.site, operator.now, operator.jobs, operator.progress, who=judges[each.mark]
        )
    with contextlib.ExitStack() as stack:
        sources = []
        for each in given:
            opened = bundle_source(each.place, operator.site, operator.now, judges[each.mark])
            sources.append(stack.enter_context(opened))
        for source in sources:
            source.build_on(sources)
        for each, source in zip(given, sources, strict=True):
            if _is_newest(each, given):
                with recorded(each.place, operator.site, "serve") as attempt:
                    _keep(source, operator, attempt)
        yield sources


def _keep(source: BundleSource, operator: Operator, attempt: Attempt) -> None:
    attempt.add(**bundle_details(source.bundle))
    keep_mark(source.bundle, operator.site, attempt)


def _given(place: Place, operator: Operator, who: Receiver) -> _Given:
    try:
        with open_bundle(place) as folder:
            found = authenticate(folder, who)
    except AirgapError:
        with recorded(place, operator.site, "verify"):
            raise
    statement = found.statement
    return _Given(place, statement, Mark(statement.epoch, statement.serial, found.sha256))


def _is_newest(each: _Given, given: Sequence[_Given]) -> bool:
    return not any(_is_after(other, each) for other in given)


def _is_after(one: _Given, other: _Given) -> bool:
    same = one.statement.stream == other.statement.stream
    return same and (one.mark.epoch, one.mark.serial) > (other.mark.epoch, other.mark.serial)


def _judge(each: _Given, given: Sequence[_Given], who: Receiver) -> Receiver:
    """Who judges the bundle: by the site's mark; or, for an older one, by the newer ones beside it."""
    newer = [other for other in given if _is_after(other, each)]
    for other in newer:  # what they say of this one, if they follow it
        check_place(other.statement, other.mark.statement_sha256, each.mark, accept_jump=True)
    if not newer:
        return who
    subjects = each.statement.subjects
    is_base = any(item.digest.path in subjects for other in newer for item in other.statement.requires)
    highest = max(newer, key=lambda other: (other.mark.epoch, other.mark.serial)).mark
    return replace(who, mark=lambda _: each.mark if is_base else highest)
