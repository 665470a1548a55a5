"""Receipts of one site add up, and a delta for several sites leaves out what all of them have."""

from datetime import UTC, datetime

import pytest

from airgap.bundle.delta_bases import BaseReceipt, DeltaBase
from airgap.errors import UsageError
from airgap.limits import MAX_DELTA_BASES
from airgap.oci.digest import Digest
from airgap.online.bases import Base, bases_of

A, B, C, D = (Digest.of(name.encode()) for name in "abcd")


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def base(*held: Digest, site: str | None = None, serial: int = 1) -> Base:
    receipt = BaseReceipt(site, "0" * 64, NOW) if site else None
    return Base("x", frozenset(held), DeltaBase(stream="s", epoch=1, serial=serial, receipt=receipt))


def held(bases: list[Base], *destinations: str, without: tuple[str, ...] = ()) -> set[Digest]:
    return set(bases_of(bases, destinations, without).held)


CASES = {
    "nothing": ([], (), set()),
    "one site": ([base(A, site="x")], (), {A}),
    "one site adds up": ([base(A, site="x"), base(B, site="x")], (), {A, B}),
    "what both have": ([base(A, B, site="x"), base(B, C, site="y")], (), {B}),
    "nothing in common": ([base(A, site="x"), base(B, site="y")], (), set()),
    "a bundle alone": ([base(A), base(B)], ("x", "y"), {A, B}),
    "a bundle counts for every site": ([base(D), base(A, site="x"), base(B, site="y")], (), {D}),
    "a bundle and one receipt": ([base(D), base(A, site="x")], ("x", "y"), {D}),
    "one that is not a destination": ([base(A, B, site="x"), base(A, site="z")], ("x",), {A, B}),
    "a receipt that is no base": ([base(A, site="x"), base(site="y")], ("x", "y"), set()),
}


@pytest.mark.parametrize(("bases", "destinations", "want"), CASES.values(), ids=CASES)
def test_what_is_left_out(bases, destinations, want):
    assert held(bases, *destinations) == want
    assert held(bases[::-1], *destinations) == want


def test_each_site_and_the_delta_without_it():
    bases = bases_of([base(A, B, site="x"), base(B, C, site="y"), base(A, B, C, site="z")], ("x", "y", "z"))
    assert [(site.site, site.held) for site in bases.sites] == [
        ("x", {A, B}),
        ("y", {B, C}),
        ("z", {A, B, C}),
    ]
    assert bases.held == {B}
    assert [bases.held_without(site) for site in "xyz"] == [{B, C}, {A, B}, {B}]


def test_a_destination_without_a_base_is_refused_by_name():
    bases = [base(A, site="x")]
    with pytest.raises(UsageError, match=r"^destinations without a base: y, z, want a receipt") as caught:
        held(bases, "x", "y", "z")
    assert "--without-base y --without-base z" in caught.value.hint
    with pytest.raises(UsageError, match=r"^destinations without a base: z,"):
        held(bases, "x", "y", "z", without=("y",))
    assert held(bases, "x", "y", "z", without=("y", "z")) == {A}
    assert [site.names for site in bases_of(bases, ("x", "y"), ("y",)).sites] == [("x",), ()]


def test_a_site_that_is_left_out_does_not_count_though_it_has_a_base():
    bases = [base(A, B, site="x"), base(C, site="y")]
    assert held(bases, "x", "y", without=("y",)) == {A, B}


@pytest.mark.parametrize("destinations", [(), ("x",)])
def test_only_a_destination_can_be_without(destinations):
    with pytest.raises(UsageError, match=r"^--without-base needs a destination of the manifest: q"):
        held([base(A)], *destinations, without=("q",))


def test_the_statement_names_the_bases_that_count():
    """Not a site that does not count, nor a receipt of archives, on which nothing can build."""
    bases = [base(A, site="y"), base(B, serial=2), base(A, site="x"), base(site="x"), base(A, site="z")]
    stated = bases_of(bases, ("x", "y", "z"), ("z",)).stated
    assert [(b.title, b.receipt.site if b.receipt else None) for b in stated] == [
        ("s-0002", None), ("s-0001", "x"), ("s-0001", "y")
    ]  # fmt: skip
    assert bases_of(bases[::-1], ("x", "y", "z"), ("z",)).stated == stated


def test_more_bases_than_a_statement_can_name_are_refused():
    bases = [base(A, site="x", serial=number) for number in range(1, MAX_DELTA_BASES + 2)]
    with pytest.raises(UsageError, match=r"^too many bases, want at most 1,000, got 1,001"):
        bases_of(bases, ("x",))
