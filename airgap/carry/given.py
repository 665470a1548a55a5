"""Several bundles in one command: of each stream, the newest counts, and older ones have content for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime

from airgap.bundle.statement import Statement
from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.choose_sender import site_of
from airgap.carry.receiver import OlderRule, Receiver
from airgap.carry.verify import VerifiedBundle, authenticate
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper, receiver, verify_here
from airgap.errors import AirgapError
from airgap.site import Mark, Site
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """A bundle from the command line, with its signed statement (steps 1 to 6)."""

    location: BundleLocation
    statement: Statement
    mark: Mark
    site: Site
    """This site with the state of the bundle's sender."""

    @property
    def stream(self) -> tuple[str, str]:
        """The sender and its stream: two senders may use one name."""
        return self.site.sender, self.statement.stream

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and serial."""
        return self.mark.epoch, self.mark.serial


def examine(location: BundleLocation, site: Site, now: datetime, *, keep: bool = False) -> Given:
    """Do steps 1 to 6, and `keep` the trust roots in the bundle if that is asked for."""
    with open_bundle(location, alone=True) as folder:
        site = site_of(folder, site)
        authenticated = authenticate(folder, keeper(site, now) if keep else receiver(site, now))
    statement = authenticated.statement
    return Given(location, statement, Mark(statement.epoch, statement.serial, authenticated.sha256), site)


def examine_all(locations: Sequence[BundleLocation], site: Site, now: datetime) -> list[Given | None]:
    """Do steps 1 to 6 for each; None for a bundle that is refused, which the caller finds out in its turn."""
    given: list[Given | None] = []
    for location in locations:
        try:
            given.append(examine(location, site, now))
        except AirgapError:
            given.append(None)
    return given


def by_stream(given: Sequence[Given]) -> list[list[Given]]:
    """Return the bundles of each sender's streams, oldest first; the streams in the order in which they were
    given.
    """
    streams: dict[tuple[str, str], list[Given]] = {}
    for bundle in given:
        streams.setdefault(bundle.stream, []).append(bundle)
    return [sorted(bundles, key=lambda bundle: bundle.place) for bundles in streams.values()]


def _for_base(who: Receiver) -> Receiver:
    return replace(who, older=OlderRule.CONTENT) if who.older is OlderRule.REFUSE else who


@contextmanager
def opened_base(location: BundleLocation, site: Site, who: Receiver) -> Iterator[VerifiedBundle]:
    """Yield a bundle that has content for a newer one, after steps 1 to 9. The ledger records that."""
    with ExitStack() as stack:
        with bundle_attempt(location, site, "verify") as attempt:
            folder = open_bundle(location)
            stack.callback(folder.close)
            bundle = verify_here(folder, site, who.now, _for_base(who))
            attempt.add(**bundle_details(bundle), base=True)
        yield bundle
