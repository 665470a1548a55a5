"""Whatever a volume table holds: it comes back the same, or is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle.volume_table import (
    MAX_VOLUMES,
    Cut,
    Part,
    VolumeTable,
)
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from tests.unit.bundle.table_support import RAW, TABLE

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


DIGESTS = st.builds(Digest, st.just("sha256"), HEX) | st.builds(
    Digest, st.just("sha512"), st.text("0123456789abcdef", min_size=128, max_size=128)
)


@st.composite
def tables(draw) -> VolumeTable:
    of = draw(st.integers(1, MAX_VOLUMES))
    several = st.lists(
        st.builds(Part, st.integers(1, of), st.integers(1, 2**53 - 1), HEX), min_size=1, max_size=5
    ).map(tuple)
    empty = st.builds(lambda volume, sha256: (Part(volume, 0, sha256),), st.integers(1, of), HEX)
    blobs = draw(st.dictionaries(DIGESTS, several | empty, max_size=6))
    return VolumeTable(draw(HEX), draw(st.integers(1, of)), Cut(of, blobs))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=9), below, max_size=3),
    max_leaves=6,
)


def parsed_or_refused(raw: bytes) -> None:
    """Whatever comes: one of our errors, or a table that has just these bytes."""
    try:
        found = VolumeTable.parse(raw, "v")
    except FormatError:
        return
    assert found.to_bytes() == raw


def test_small_values_without_number_are_not_parsed(monkeypatch):
    monkeypatch.setattr("airgap.oci.strict_json._decode", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(FormatError, match="too many values: v"):
        VolumeTable.parse(b'{"blobs":[' + b"{}," * 1_000_000 + b"{}]}", "v")


def test_the_smallest_of_values_are_let_through():
    """Parts of no size that has digits, on one volume."""
    digests = [Digest.of(str(number).encode()) for number in range(50)]
    table = VolumeTable("0" * 64, 1, Cut(1, {digest: (Part(1, 0),) for digest in sorted(digests)}))
    assert VolumeTable.parse(table.to_bytes(), "v") == table


class TestAnything:
    @given(tables())
    def test_a_round_trip(self, table):
        found = VolumeTable.parse(table.to_bytes(), "v")
        assert found == table
        assert list(found.cut.parts) == sorted(table.cut.parts)
        assert json.loads(table.to_bytes())["of"] == table.cut.of

    @given(st.binary(max_size=300))
    def test_bytes(self, raw):
        parsed_or_refused(raw)

    @settings(max_examples=120)
    @given(st.data())
    def test_one_harmed_place(self, data):
        at = data.draw(st.integers(0, len(RAW)))
        until = data.draw(st.integers(at, min(at + 40, len(RAW))))
        raw = RAW[:at] + data.draw(st.binary(max_size=4)) + RAW[until:]
        parsed_or_refused(raw)
        assert raw == RAW or _differs(raw)

    @settings(max_examples=120)
    @given(st.data())
    def test_one_other_value(self, data):
        document = json.loads(RAW)
        spots = list(_spots(document))
        holder, key = data.draw(st.sampled_from(spots))
        holder[key] = data.draw(JSON)
        parsed_or_refused(json.dumps(document, separators=(",", ":")).encode())
        parsed_or_refused(_as_ours(document))


def _differs(raw: bytes) -> bool:
    try:
        return VolumeTable.parse(raw, "v") != TABLE
    except FormatError:
        return True


def _spots(value):
    """Every place in a document that holds a value."""
    places = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(places):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _spots(inner)


def _as_ours(document: dict) -> bytes:
    """With line feeds where ours have them, so that a change comes as far as the last check."""
    raw = json.dumps(document, separators=(",", ":")).encode()
    for old, new in (
        (b',"st', b',\n"st'),
        (b',"volume":2,"of"', b',\n"volume":2,\n"of"'),
        (b',"blobs":[', b',\n"blobs":[\n'),
    ):
        raw = raw.replace(old, new, 1)
    return raw.replace(b'},{"blob"', b'},\n{"blob"')[:-2] + b"\n]}\n"
