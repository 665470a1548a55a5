"""What a delta builds on: the receipts and bundles that a statement names (FORMAT.md §3.1)."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from airgap.bundle.stream_name import parse_site, parse_stream
from airgap.errors import FormatError
from airgap.limits import MAX_DELTA_BASES
from airgap.oci.in_toto import sha256_in
from airgap.oci.strict_json import Fields
from airgap.times import format_time
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class BaseReceipt:
    """A receipt that a delta builds on."""

    site: str
    """The site that signed it, and for which alone it counts."""
    sha256: str
    """The SHA-256 of its file, in hex."""
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaBase:
    """A bundle that a delta builds on."""

    stream: str
    epoch: int
    serial: int
    receipt: BaseReceipt | None = None
    """The receipt of its load; None if the sender assumes that every destination has loaded it."""

    @property
    def title(self) -> str:
        """The name of the bundle's folder."""
        return f"{self.stream}-{self.serial:04d}"

    def counts_for(self, site: str) -> bool:
        """Return whether the base is one of `site`."""
        return self.receipt is None or self.receipt.site == site

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value in a statement."""
        receipt = self.receipt and {
            "site": self.receipt.site,
            "sha256": self.receipt.sha256,
            "time": format_time(self.receipt.time),
        }
        return {"stream": self.stream, "epoch": self.epoch, "serial": self.serial, "receipt": receipt}


def _order(base: DeltaBase) -> tuple[str, str, int, int, str]:
    site, sha256 = (base.receipt.site, base.receipt.sha256) if base.receipt else ("", "")
    return site, base.stream, base.epoch, base.serial, sha256


def in_order(bases: Iterable[DeltaBase]) -> tuple[DeltaBase, ...]:
    """Return the bases in the order of FORMAT.md §3.1, each once."""
    return tuple(sorted(set(bases), key=_order))


def parse_bases(fields: Fields, destinations: Collection[str]) -> tuple[DeltaBase, ...]:
    """Return the bases of a delta; none if the statement does not have the field.

    Args:
        fields: The predicate.
        destinations: The sites that the bundle is for; empty for any site.

    Raises:
        FormatError: The bases break a rule of FORMAT.md §3.1. The caller checks that the bundle is a delta.
    """
    if not fields.has("bases"):
        return ()
    items = fields.children("bases")
    where = f"{fields.where}: bases"
    if not 1 <= len(items) <= MAX_DELTA_BASES:
        want = f"1 to {MAX_DELTA_BASES:,}"
        raise FormatError("wrong number of bases", subject=where, want=want, got=len(items))
    bases = tuple(map(_parse_base, items))
    if bases != in_order(bases):
        raise FormatError("the bases are not in order, each once", subject=where)
    sites = {base.receipt.site for base in bases if base.receipt}
    if destinations and (others := sorted(sites - set(destinations))):
        raise FormatError("a base of a site that is not a destination", subject=where, got=others[0])
    return bases


def _parse_base(item: Fields) -> DeltaBase:
    base = DeltaBase(
        stream=parse_stream(item),
        epoch=item.integer("epoch"),
        serial=item.integer("serial"),
        receipt=_parse_receipt(item),
    )
    item.end()
    return base


def _parse_receipt(item: Fields) -> BaseReceipt | None:
    if item.take("receipt") is None:
        return None
    receipt = item.child("receipt")
    parsed = BaseReceipt(parse_site(receipt), sha256_in(receipt, "sha256"), receipt.time("time"))
    receipt.end()
    return parsed
