"""Which of several bundles are loaded, and which are only a base of a newer one (FORMAT.md §7.1, rule 6)."""

from collections.abc import Sequence
from datetime import datetime

from airgap.bundle.volumes import BundleLocation
from airgap.carry.accepted_bundles import AcceptedBundles
from airgap.carry.given import Given, by_stream, examine_all
from airgap.site import Site
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """A bundle to load, and the older ones of its stream that may have content for it."""

    location: BundleLocation
    bases: tuple[BundleLocation, ...] = ()
    is_newest: bool = True
    """False if a newer bundle of the stream follows."""


def plan_loads(
    locations: Sequence[BundleLocation], site: Site, now: datetime, *, back: bool
) -> list[PlannedLoad]:
    """Return the loads in their order. Of each stream, the newest bundle is loaded, and before it, oldest
    first, those that were never accepted here. Those that were accepted before are bases only; in a step
    `back`, all but the newest are.

    A bundle that is not authentic is loaded alone, in its turn, which refuses and records it.
    """
    given = list(zip(locations, examine_all(locations, site, now), strict=True))
    loads: list[PlannedLoad] = []
    planned: set[tuple[str, str]] = set()
    streams = {bundles[0].stream: bundles for bundles in by_stream([g for _, g in given if g])}
    for location, bundle in given:
        if bundle is None:
            loads.append(PlannedLoad(location))
        elif (stream := bundle.stream) not in planned:
            planned.add(stream)
            loads += _plan_stream(streams[stream], AcceptedBundles(bundle.site), back=back)
    return loads


def _plan_stream(bundles: Sequence[Given], accepted: AcceptedBundles, *, back: bool) -> list[PlannedLoad]:
    loads = []
    for number, bundle in enumerate(bundles):
        is_base = back or accepted.include(bundle.statement, bundle.mark.statement_sha256)
        is_newest = number == len(bundles) - 1
        if is_newest or not is_base:
            bases = tuple(base.location for base in bundles[:number])
            loads.append(PlannedLoad(bundle.location, bases, is_newest))
    return loads
