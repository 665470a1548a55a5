"""Several bundles in one command: of each stream, the newest counts, and older ones have content for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from airgap.bundle.statement import Statement
from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.receiver import OlderRule, Receiver
from airgap.carry.verify import VerifiedBundle, authenticate
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, verify_here
from airgap.errors import AirgapError
from airgap.site import Mark, Site


@dataclass(frozen=True, slots=True)
class Given:
    """A bundle from the command line, with its signed statement (steps 1 to 6)."""

    location: BundleLocation
    statement: Statement
    mark: Mark

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and serial."""
        return self.mark.epoch, self.mark.serial


def examine(location: BundleLocation, who: Receiver) -> Given:
    """Do steps 1 to 6."""
    with open_bundle(location, alone=True) as folder:
        authenticated = authenticate(folder, who)
    statement = authenticated.statement
    return Given(location, statement, Mark(statement.epoch, statement.serial, authenticated.sha256))


def examine_all(locations: Sequence[BundleLocation], who: Receiver) -> list[Given | None]:
    """Do steps 1 to 6 for each; None for a bundle that is refused, which the caller finds out in its turn."""
    given: list[Given | None] = []
    for location in locations:
        try:
            given.append(examine(location, who))
        except AirgapError:
            given.append(None)
    return given


def by_stream(given: Sequence[Given]) -> list[list[Given]]:
    """Return the bundles of each stream, oldest first; the streams in the order in which they were given."""
    streams: dict[str, list[Given]] = {}
    for bundle in given:
        streams.setdefault(bundle.statement.stream, []).append(bundle)
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
