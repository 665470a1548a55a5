"""What the sites have that a delta is for: the union of each site's bases, and what all sites have."""

from collections.abc import Iterable, Sequence

from airgap.audit.receipt import Receipt
from airgap.bundle.delta_bases import BaseReceipt, DeltaBase, in_order
from airgap.bundle.statement import Statement
from airgap.bundle.stream_name import STREAM_GRAMMAR
from airgap.errors import FormatError, UsageError
from airgap.limits import MAX_DELTA_BASES
from airgap.oci.digest import Digest
from airgap.trust.envelope import Envelope
from airgap.values import dataclass

NOTHING: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class Base:
    """One base: blobs that a site has or, without a site, that every site has."""

    name: str
    """As it was given, or the path of a receipt."""
    held: frozenset[Digest]
    stated: DeltaBase
    """As the statement of the delta names it."""

    @property
    def site(self) -> str | None:
        """The site for which alone it counts; None for every site."""
        return self.stated.receipt.site if self.stated.receipt else None


def named_by_bundle(statement: Statement) -> DeltaBase:
    """Return how a delta names a bundle that every site has."""
    return DeltaBase(stream=statement.stream, epoch=statement.epoch, serial=statement.serial)


def named_by_receipt(receipt: Receipt, envelope: Envelope) -> DeltaBase:
    """Return how a delta names a receipt. Raises `FormatError` if its site has no valid name."""
    if not STREAM_GRAMMAR.fullmatch(receipt.site):
        raise FormatError("not a site name", subject="receipt", got=repr(receipt.site[:80]))
    return DeltaBase(
        stream=receipt.bundle_stream,
        epoch=receipt.epoch,
        serial=receipt.serial,
        receipt=BaseReceipt(receipt.site, Digest.of(envelope.to_bytes()).hex, receipt.time),
    )


@dataclass(frozen=True, slots=True)
class SiteBase:
    """What one site has, by all its bases."""

    site: str
    held: frozenset[Digest]
    names: tuple[str, ...]
    """The bases; empty for a site without one, which does not count."""


@dataclass(frozen=True, slots=True)
class Bases:
    """The bases of a delta, for each site."""

    sites: tuple[SiteBase, ...] = ()
    common: frozenset[Digest] = NOTHING
    """What every site has, by the bundles and serials that were given."""
    stated: tuple[DeltaBase, ...] = ()
    """The bases that count, as the statement of the delta names them."""

    @property
    def held(self) -> frozenset[Digest]:
        """Return what the delta may leave out: the blobs that every site has."""
        return self.held_without(None)

    def held_without(self, site: str | None) -> frozenset[Digest]:
        """Return what it could leave out if `site` did not count."""
        held = [base.held for base in self.sites if base.names and base.site != site]
        return frozenset.intersection(*held) if held else self.common


def bases_of(bases: Iterable[Base], destinations: Sequence[str], without_base: Sequence[str] = ()) -> Bases:
    """Group bases by site.

    Args:
        bases: All bases.
        destinations: The sites that the bundle is for; if there are none, the sites with receipts count.
        without_base: The destinations that do not count, although the bundle is for them.

    Raises:
        UsageError: A destination has no base, or a site in `without_base` is not a destination.
    """
    bases = list(bases)
    common = frozenset().union(*(base.held for base in bases if base.site is None))
    shared = tuple(base.name for base in bases if base.site is None)
    sites = []
    for site in destinations or sorted({base.site for base in bases if base.site is not None}):
        own = [base for base in bases if base.site == site and site not in without_base]
        names = () if site in without_base else (*(base.name for base in own), *shared)
        sites.append(SiteBase(site, common.union(*(base.held for base in own)), names))
    _refuse_missing([base.site for base in sites if not base.names], destinations, without_base)
    return Bases(tuple(sites), common, _stated(bases, [base.site for base in sites if base.names]))


def _stated(bases: Iterable[Base], sites: Sequence[str]) -> tuple[DeltaBase, ...]:
    """Return the bases that hold something and count. Raises `UsageError` if a statement cannot name all."""
    stated = in_order(base.stated for base in bases if base.held and base.site in (None, *sites))
    if len(stated) > MAX_DELTA_BASES:
        raise UsageError(
            "too many bases", want=f"at most {MAX_DELTA_BASES:,}", got=f"{len(stated):,}",
            hint="the latest receipt of each site is enough: use --since sites",
        )  # fmt: skip
    return stated


def _refuse_missing(missing: Sequence[str], destinations: Sequence[str], without_base: Sequence[str]) -> None:
    if unknown := sorted(set(without_base) - set(destinations)):
        raise UsageError(
            "--without-base needs a destination of the manifest", subject=", ".join(unknown),
            want=", ".join(destinations) or "destinations in the manifest",
        )  # fmt: skip
    if absent := [site for site in missing if site not in without_base]:
        options = " ".join(f"--without-base {site}" for site in absent)
        raise UsageError(
            "destinations without a base", subject=", ".join(absent), want="a receipt of each, or a bundle",
            hint="import their receipts, or leave out --since to carry everything; with "
            f"{options}, the bundle is made for the others",
        )  # fmt: skip
