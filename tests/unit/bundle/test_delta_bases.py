"""The bases that a delta's statement names: strictly in one form, bounded, and absent from a full bundle."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle.delta_bases import BaseReceipt, DeltaBase, in_order
from airgap.bundle.statement import Statement
from airgap.errors import FormatError
from airgap.limits import MAX_DELTA_BASES
from tests.unit.bundle.test_statement import DELTA, FULL, NOW, PLAIN, A

RECEIPT = f'"receipt":{{"site":"plant-7","sha256":"{A.hex}","time":"2026-06-01T00:00:00Z"}}'
FIRST = '{"stream":"edge-stack","epoch":2,"serial":6,"receipt":null}'
SECOND = f'{{"stream":"edge-stack","epoch":2,"serial":5,{RECEIPT}}}'


def test_each_base_is_on_its_own_line():
    lines = DELTA.to_bytes().decode("ascii").splitlines()
    start = lines.index('"bases":[')
    assert lines[start + 1 : start + 4] == [f"{FIRST},", SECOND, "],"]
    assert b'"bases"' not in FULL.to_bytes()


def test_a_base_counts_for_its_site_or_for_all():
    everywhere, at_plant = DELTA.bases
    assert everywhere.counts_for("lab")
    assert [at_plant.counts_for(site) for site in ("plant-7", "lab")] == [True, False]
    assert everywhere.title == "edge-stack-0006"


CHANGES = {
    "none": (f"[\n{FIRST},\n{SECOND}\n]", "[]", "wrong number of bases: .*, want 1 to 1,000, got 0"),
    "null": (f"[\n{FIRST},\n{SECOND}\n]", "null", "want a list, got nothing"),
    "an object": (f"[\n{FIRST},\n{SECOND}\n]", "{}", "want a list, got an object"),
    "other order": (f"{FIRST},\n{SECOND}", f"{SECOND},\n{FIRST}", "not in order, each once"),
    "twice": (f"{FIRST},\n", f"{FIRST},\n{FIRST},\n", "not in order, each once"),
    "one line": (f"{FIRST},\n", f"{FIRST},", "not in canonical form"),
    "unknown field": (FIRST, FIRST.replace('"epoch"', '"x":1,"epoch"'), "unknown field: .*, got 'x'"),
    "unknown field of a receipt": (RECEIPT, RECEIPT.replace('"time"', '"x":1,"time"'), "unknown field"),
    "stream": (FIRST, FIRST.replace("edge-stack", "../x"), "not a stream name"),
    "serial": (FIRST, FIRST.replace("6", '"6"'), "want an integer, got a string"),
    "epoch": (FIRST, FIRST.replace('"epoch":2', '"epoch":-2'), "negative"),
    "no receipt": (FIRST, FIRST.replace(',"receipt":null', ""), "not in canonical form"),
    "a receipt's name": (FIRST, FIRST.replace("null", '"x"'), "want an object, got a string"),
    "site": (RECEIPT, RECEIPT.replace("plant-7", "Plant 7"), "not a site name"),
    "another site": (RECEIPT, RECEIPT.replace("plant-7", "lab"), "of a site that is not a destination: .*, got lab"),
    "digest": (RECEIPT, RECEIPT.replace(A.hex, A.hex.upper()), "not a digest"),
    "time": (RECEIPT, RECEIPT.replace("T00:00:00Z", ""), "not a time"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), CHANGES.values(), ids=CHANGES)
def test_refused(old, new, words):
    raw = DELTA.to_bytes().decode()
    assert raw.count(old) == 1
    with pytest.raises(FormatError, match=words):
        Statement.parse(raw.replace(old, new).encode())


def test_a_full_bundle_has_no_bases():
    with pytest.raises(FormatError, match="a full bundle has no bases"):
        Statement.parse(replace(PLAIN, bases=DELTA.bases).to_bytes())


def test_more_bases_than_the_limit_are_refused():
    bases = in_order(DeltaBase(stream="s", epoch=1, serial=n) for n in range(MAX_DELTA_BASES + 1))
    assert Statement.parse(replace(FULL, bases=bases[1:]).to_bytes()).bases == bases[1:]
    with pytest.raises(FormatError, match=r"wrong number of bases: .*, got 1001"):
        Statement.parse(replace(FULL, bases=bases).to_bytes())


def test_a_bundle_for_any_site_may_build_on_any_receipt():
    anywhere = replace(DELTA, destinations=())
    assert Statement.parse(anywhere.to_bytes()) == anywhere


_NUMBER = st.integers(0, 2**53 - 1)
_NAME = st.sampled_from(["plant-7", "plant-8"])
_RECEIPTS = st.builds(BaseReceipt, _NAME, st.sampled_from([A.hex, "0" * 64]), st.just(NOW))
_BASES = st.builds(
    DeltaBase, stream=_NAME, epoch=_NUMBER, serial=_NUMBER, receipt=st.none() | _RECEIPTS
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(_BASES, min_size=1, max_size=5))
def test_whatever_is_named_is_read(bases):
    stated = replace(FULL, bases=in_order(bases))
    assert Statement.parse(stated.to_bytes()) == stated


@settings(max_examples=60)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["stream", "epoch", "serial", "receipt"]), v, max_size=4), max_leaves=8))  # fmt: skip
def test_anything_else_is_refused_as_a_format_error(value: Any):
    document = json.loads(FULL.to_bytes())
    document["predicate"]["bases"] = value
    with pytest.raises(FormatError):
        Statement.parse(json.dumps(document).encode())
