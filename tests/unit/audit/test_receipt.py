import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.audit.receipt import RESULTS, VERDICTS, PrunedName, Receipt, ReceiptImage, StepBack
from airgap.errors import AmbiguousError, FormatError

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
RECEIPT = Receipt(
    site="plant-7", bundle_stream="edge", serial=7, epoch=1, statement_sha256="5" * 64,
    time=datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC), result="partial",
    target="docker", target_version="28.5.1",
    images=(
        ReceiptImage("docker.io/library/nginx:1.27", A, "loaded", target_digest=B, before=C),
        ReceiptImage("ghcr.io/acme/api:2.3", "sha512:" + "d" * 128, "failed", error="disk \u202e full"),
    ),
    keyids=("1" * 64, "2" * 64), threshold=2, root_version=3,
    checkpoint={"origin": "plant-7", "size": 12, "root": "e" * 64},
    holds=(A, B), operator="jo", tool_version="0.1.0",
)  # fmt: skip

TEXT = rf"""{{"_type":"https://in-toto.io/Statement/v1",
"subject":[
{{"name":"statement.json","digest":{{"sha256":"{"5" * 64}"}}}},
{{"name":"docker.io/library/nginx:1.27","digest":{{"sha256":"{"a" * 64}"}}}},
{{"name":"ghcr.io/acme/api:2.3","digest":{{"sha512":"{"d" * 128}"}}}}
],
"predicateType":"urn:airgap:receipt:v1",
"predicate":{{
"site":"plant-7",
"bundle":{{"stream":"edge","serial":7,"epoch":1,"statement_sha256":"{"5" * 64}"}},
"time":"2026-01-31T12:00:01Z",
"result":"partial",
"target":{{"name":"docker","version":"28.5.1"}},
"images":[
{{"reference":"docker.io/library/nginx:1.27","digest":"{A}","verdict":"loaded","target_digest":"{B}","before":"{C}","error":null}},
{{"reference":"ghcr.io/acme/api:2.3","digest":"sha512:{"d" * 128}","verdict":"failed","target_digest":null,"before":null,"error":"disk \u202e full"}}
],
"keyids":[
"{"1" * 64}",
"{"2" * 64}"
],
"threshold":2,
"root_version":3,
"checkpoint":{{"origin":"plant-7","size":12,"root":"{"e" * 64}"}},
"holds":[
"{A}",
"{B}"
],
"operator":"jo",
"tool":{{"name":"airgap","version":"0.1.0"}}}}
}}
"""


def test_the_bytes():
    assert RECEIPT.to_bytes().decode("ascii") == TEXT
    assert Receipt.parse(TEXT.encode()) == RECEIPT
    assert json.loads(TEXT)["subject"][0]["digest"]["sha256"] == RECEIPT.statement_sha256


def test_the_person_behind_the_user_is_a_claim():
    """An optional line: receipts without it have the bytes that they always had."""
    receipt = replace(RECEIPT, claimed_operator="alice")
    want = TEXT.replace('"operator":"jo",\n', '"operator":"jo",\n"claimed_operator":"alice",\n')
    assert receipt.to_bytes().decode("ascii") == want
    assert Receipt.parse(want.encode()) == receipt
    assert (RECEIPT.by, receipt.by) == ("jo", "jo (claims to act for alice)")


def test_a_refused_bundle_has_a_receipt_too():
    receipt = replace(RECEIPT, result="refused", images=(), holds=(), keyids=())
    assert b'"images":[],\n' in receipt.to_bytes()
    assert Receipt.parse(receipt.to_bytes()) == receipt


def test_a_reason_is_there_only_where_there_is_one():
    skipped = ReceiptImage("docker.io/library/nginx:1.27", A, "skipped", reason="an artifact")
    receipt = replace(RECEIPT, images=(skipped, *RECEIPT.images[1:]))
    assert receipt.to_bytes().count(b'"reason":"an artifact"') == receipt.to_bytes().count(b'"reason"') == 1
    assert Receipt.parse(receipt.to_bytes()) == receipt
    with pytest.raises(FormatError):
        Receipt.parse(receipt.to_bytes().replace(b'"reason":"an artifact"', b'"reason":null'))


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
DIGESTS = HEX.map("sha256:{}".format)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**53 - 1)
REFERENCES = st.from_regex(r"[a-z0-9]{1,9}\.example/[a-z]{1,9}/[a-z]{1,9}:[0-9a-z]{1,9}", fullmatch=True)
IMAGES = st.builds(
    ReceiptImage, REFERENCES, DIGESTS, st.sampled_from(VERDICTS), target_digest=st.none() | DIGESTS,
    before=st.none() | DIGESTS, error=st.none() | TEXTS, reason=st.none() | TEXTS,
)  # fmt: skip
RECEIPTS = st.builds(
    Receipt, site=TEXTS, bundle_stream=TEXTS, serial=NUMBERS, epoch=NUMBERS, statement_sha256=HEX,
    time=st.integers(0, 10**10).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    result=st.sampled_from(RESULTS), target=TEXTS, target_version=TEXTS,
    images=st.lists(IMAGES, max_size=3).map(tuple), keyids=st.lists(HEX, max_size=3).map(tuple),
    threshold=NUMBERS, root_version=NUMBERS,
    checkpoint=st.fixed_dictionaries({"origin": TEXTS, "size": NUMBERS, "root": HEX}),
    holds=st.lists(DIGESTS, max_size=3).map(tuple), operator=TEXTS, tool_version=TEXTS,
    pruned=st.lists(st.builds(PrunedName, REFERENCES, DIGESTS), max_size=2).map(tuple),
)  # fmt: skip


@given(RECEIPTS)
def test_a_receipt_is_read_as_it_was_written(receipt):
    raw = receipt.to_bytes()
    assert raw.isascii()
    assert Receipt.parse(raw) == receipt
    assert Receipt.parse(raw).to_bytes() == raw


@given(st.binary(max_size=300))
def test_anything_else_is_a_format_error(raw):
    with pytest.raises(FormatError):
        Receipt.parse(raw)


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_kept(at, flip):
    """Every byte counts: what is parsed from other bytes is another receipt."""
    raw = bytearray(TEXT.encode())
    raw[at] ^= flip
    with contextlib.suppress(FormatError):
        assert Receipt.parse(bytes(raw)) != RECEIPT


def changed(*keys, to):
    """The statement with the value at `keys` replaced; in canonical spelling where that is possible."""

    def change(text):
        value = json.loads(text)
        inner = value
        for key in keys[:-1]:
            inner = inner[key]
        old, inner[keys[-1]] = inner[keys[-1]], to
        spelled = [json.dumps(x, separators=(",", ":")) for x in (old, to)]
        return (
            text.replace(f'"{keys[-1]}":{spelled[0]}', f'"{keys[-1]}":{spelled[1]}', 1)
            if (f'"{keys[-1]}":{spelled[0]}' in text)
            else json.dumps(value)
        )

    return change


def added(before, what):
    return lambda text: text.replace(before, what + before, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("_type", to="https://in-toto.io/Statement/v2"), "receipt: _type, want https"),
        (changed("predicateType", to="urn:airgap:bundle:v1"), "receipt: predicateType, want urn:airgap:receipt:v1"),
        (changed("predicate", "site", to=7), "site, want a string"),
        (changed("predicate", "bundle", to=None), "bundle, want an object"),
        (changed("predicate", "bundle", "serial", to=-1), "negative"),
        (changed("predicate", "bundle", "serial", to="7"), "serial, want an integer"),
        (changed("predicate", "bundle", "epoch", to=True), "epoch, want an integer"),
        (changed("predicate", "bundle", "statement_sha256", to="5" * 63), "statement_sha256"),
        (changed("predicate", "time", to="2026-01-31T12:00:01.000Z"), "not a time"),
        (changed("predicate", "result", to="fine"), "result, want ok or partial"),
        (changed("predicate", "target", to="docker"), "target, want an object"),
        (changed("predicate", "target", "version", to=28), "version, want a string"),
        (changed("predicate", "images", to={}), "images, want a list"),
        (changed("predicate", "images", 0, "verdict", to="maybe"), "verdict, want loaded or already there"),
        (changed("predicate", "images", 0, "reference", to="nginx:1.27"), "not a full image reference"),
        (changed("predicate", "images", 0, "reference", to="NGINX"), "not an image reference"),
        (changed("predicate", "images", 0, "digest", to="sha256:../.."), "not a digest"),
        (changed("predicate", "images", 0, "target_digest", to=""), "target_digest, want sha256"),
        (changed("predicate", "images", 0, "before", to="sha256:" + "A" * 64), "before, want sha256"),
        (changed("predicate", "images", 1, "error", to=5), "error, want a string"),
        (changed("predicate", "keyids", to=["1"]), "keyids, want sha256"),
        (changed("predicate", "keyids", to="1"), "keyids, want a list"),
        (changed("predicate", "threshold", to=1.5), "not an integer"),
        (changed("predicate", "root_version", to=2**53), "integer too large"),
        (changed("predicate", "checkpoint", "root", to="e"), "root, want sha256"),
        (changed("predicate", "checkpoint", "size", to=None), "size, want an integer"),
        (changed("predicate", "holds", to=["blob"]), "holds, want sha256"),
        (changed("predicate", "operator", to=[]), "operator, want a string"),
        (added('"tool"', '"claimed_operator":7,'), "claimed_operator, want a string"),
        (added('"tool"', '"claimed_operator":null,'), "not in canonical form"),
        (added('"checkpoint"', '"claimed_operator":"x",'), "not in canonical form"),
        (changed("predicate", "tool", "name", to="other"), "name, want airgap"),
        (changed("subject", to={}), "subject, want a list"),
        (changed("subject", to=[]), "not in canonical form"),
        (changed("subject", 1, "name", to="docker.io/library/other:1"), "not in canonical form"),
        (added('"predicateType"', '"more":1,'), "unknown field: receipt, got 'more'"),
        (added('"site"', '"more":1,'), "unknown field: receipt: predicate, got 'more'"),
        (added('"stream"', '"more":1,'), "unknown field: receipt: predicate: bundle"),
        (added('"origin"', '"more":1,'), "unknown field: receipt: predicate: checkpoint"),
        (added('"reference"', '"more":1,'), "unknown field: receipt: predicate: images"),
        (added('"version":"28', '"more":1,'), "unknown field: receipt: predicate: target"),
        (added('"version":"0', '"more":1,'), "unknown field: receipt: predicate: tool"),
        (added('"site"', '"site":"plant-7",'), "duplicate key"),
        (added('"site"', '"Site":"plant-8",'), "differ in case only"),
        (lambda text: " " + text, "not in canonical form"),
        (lambda text: text[:-1], "not in canonical form"),
        (lambda text: text + "{}", "not JSON"),
        (lambda text: text.replace("plant-7", "plant\\u002d7", 1), "not in canonical form"),
        (lambda text: "[]", "not a JSON object"),
        (lambda text: "", "not JSON"),
    ],
)  # fmt: skip
def test_bad_receipts(change, message):
    assert change(TEXT) != TEXT
    with pytest.raises(FormatError, match=message):
        Receipt.parse(change(TEXT).encode())


def test_hints_name_the_writer():
    with pytest.raises(FormatError) as caught:
        Receipt.parse(added('"site"', '"more":1,')(TEXT).encode())
    assert caught.value.hint == "the receipt was written by airgap 0.1.0; use that version or a later one"


def test_case_twins_are_ambiguous():
    with pytest.raises(AmbiguousError):
        Receipt.parse(added('"site"', '"Site":"plant-8",')(TEXT).encode())


def test_a_digest_that_is_none_is_not_written():
    with pytest.raises(FormatError, match=r"digest of x\.example/y:1"):
        replace(RECEIPT, images=(ReceiptImage("x.example/y:1", "md5:0", "loaded"),)).to_bytes()


def test_the_engine_is_left_out_where_it_is_not_known() -> None:
    """Receipts of older versions have none, and are read as they are."""
    engine = "Docker 28.5.1 on build-1, unix:///run/docker.sock (context plant)"
    known = replace(RECEIPT, target_engine=engine)
    assert b'"target":{"name":"docker","version":"28.5.1","engine":"Docker 28.5.1 on' in known.to_bytes()
    assert Receipt.parse(known.to_bytes()) == known
    assert b"engine" not in RECEIPT.to_bytes()
    for value in ('""', "null"):
        raw = RECEIPT.to_bytes().replace(b'"28.5.1"}', b'"28.5.1","engine":' + value.encode() + b"}")
        with pytest.raises(FormatError, match="canonical"):
            Receipt.parse(raw)


def test_a_step_back_is_in_the_receipt_and_nowhere_else():
    back = replace(RECEIPT, step_back=StepBack("CHG-7: crashes", 1, 9, "7" * 64))
    raw = back.to_bytes()
    assert b'\n"step_back":{"reason":"CHG-7: crashes","epoch":1,"serial":9,' in raw
    assert Receipt.parse(raw) == back
    assert Receipt.parse(RECEIPT.to_bytes()).step_back is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"serial":9', b'"serial":"9"'),
        (b'"7777', b'"777x'),
        (b'"reason":"x",', b""),
        (b'"reason":"x"', b'"reason":null'),
        (b'"reason":"x",', b'"reason":"x","more":1,'),
        (b'"step_back":{', b'"step_back":[{'),
    ],
)
def test_a_malformed_step_back_is_refused(old, new):
    raw = replace(RECEIPT, step_back=StepBack("x", 1, 9, "7" * 64)).to_bytes()
    assert raw.count(old) >= 1
    with pytest.raises(FormatError):
        Receipt.parse(raw.replace(old, new))


PRUNED = replace(RECEIPT, pruned=(PrunedName("docker.io/library/old:1", A),))


def test_what_was_pruned_is_in_the_receipt_and_nowhere_else():
    raw = PRUNED.to_bytes()
    assert b'\n{"reference":"docker.io/library/old:1","target_digest":"sha256:' in raw
    assert Receipt.parse(raw) == PRUNED
    assert b"pruned" not in RECEIPT.to_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"docker.io/library/old:1"', b'"old:1"'),
        (b'"docker.io/library/old:1"', b'"../old"'),
        (b'"docker.io/library/old:1"', b"1"),
        (b'{"reference":"docker.io/library/old:1",', b"{"),
        (b'{"reference":"docker.io/library/old:1",', b'{"more":1,"reference":"docker.io/library/old:1",'),
        (b'"pruned":[', b'"pruned":[[],'),
        (b'"pruned":[', b'"prunes":['),
        (b'"target_digest":"sha256:' + A.encode()[7:9], b'"target_digest":"md5:'),
    ],
)
def test_a_malformed_pruning_is_refused(old, new):
    raw = PRUNED.to_bytes()
    assert old in raw
    with pytest.raises(FormatError):
        Receipt.parse(raw.replace(old, new))


def test_an_empty_pruning_is_not_a_form():
    raw = PRUNED.to_bytes()
    begin, end = raw.index(b'"pruned":['), raw.index(b'"tool":')
    with pytest.raises(FormatError):
        Receipt.parse(raw[:begin] + b'"pruned":[],\n' + raw[end:])
