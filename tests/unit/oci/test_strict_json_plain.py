"""Documents that are read without the full check are those that the full check accepts."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.limits import MAX_JSON_DEPTH, MAX_JSON_INTEGER
from airgap.oci import strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 2**60) | st.text("aBé\\\ud800", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abAB", max_size=2), inner),
    max_leaves=8,
)


def full_check(raw: bytes) -> object:
    value = strict_json._decode(raw, "x", floats=False)
    strict_json._check(value, "x")
    return value


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("abA", max_size=2), VALUES, max_size=3), st.booleans())
@example(value={"a": {"a": MAX_JSON_INTEGER}}, ascii_only=True)
def test_a_plain_document_passes_the_full_check(value: dict[str, object], ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    plain = strict_json._decode_plain(raw)
    assert plain is None or plain == full_check(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}', b'{"a":1,"A":2}', b'{"a":-0}', b'{"a":1.0}', b'{"a":NaN}', b'{"a":1e3}',
        b'{"a":9007199254740992}', b'{"a":"\\ud800"}', '{"é":1,"É":2}'.encode(), b'{"a":1', b"[1]", b"\xff{}",
        b'{"a":' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH + b"}",
        b'{"a":' * MAX_JSON_DEPTH + b"1" + b"}" * MAX_JSON_DEPTH,
        b'{"b":[' + b"{}," * MAX_JSON_DEPTH + b'{}],"a":' * MAX_JSON_DEPTH + b"1" + b"}" * MAX_JSON_DEPTH,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)  # fmt: skip
def test_what_may_be_ambiguous_is_left_to_the_full_check(raw: bytes) -> None:
    assert strict_json._decode_plain(raw) is None
    with pytest.raises(FormatError):
        strict_json.parse_object(raw, "x", floats=False)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"seq":1,"bundle":{"stream":"edge"},"images":[{"digest":"a"}]}',
        b'{"mediaType":"a","layers":[' + b'{"mediaType":"a"},' * 3 * MAX_JSON_DEPTH + b'{"Size":1}]}',
        b'{"a":' * (MAX_JSON_DEPTH - 1) + b"{}" + b"}" * (MAX_JSON_DEPTH - 1),
    ],
)
def test_most_documents_are_plain(raw: bytes) -> None:
    assert strict_json._decode_plain(raw) == json.loads(raw)
