import json
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AmbiguousError, FormatError
from airgap.limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_INTEGER
from airgap.oci.strict_json import Fields, dump, kind, parse_object

BAD = {
    "nothing": (b"", "not JSON: f, got Expecting value at line 1 column 1"),
    "no JSON": (b"{a}", "not JSON"),
    "trailing data": (b"{} {}", "not JSON: f, got Extra data"),
    "trailing comma": (b'{"a":1,}', "not JSON"),
    "comment": (b"{}//", "not JSON"),
    "list": (b"[]", "not a JSON object: f, got a list"),
    "text": (b'"a"', "not a JSON object: f, got a string"),
    "null": (b"null", "got nothing"),
    "boolean": (b"true", "got a boolean"),
    "integer": (b"1", "got an integer"),
    "number": (b"1.5", "got a number"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "UTF-16": ("{}".encode("utf-16"), "not UTF-8"),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', "not UTF-8: f, got byte 6"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
    "unpaired surrogate": (b'{"a":"\\udc00"}', "unpaired surrogate: f"),
    "unpaired surrogate in a key": (b'{"\\udc00":1}', "unpaired surrogate: f"),
    "raw control character": (b'{"a":"\x01"}', "not JSON"),
    "NaN": (b'{"a":NaN}', "not JSON: f, got NaN"),
    "infinity": (b'{"a":-Infinity}', "not JSON: f, got -Infinity"),
    "duplicate": (b'{"a":1,"b":2,"a":3}', "duplicate key: f, got 'a'"),
    "duplicate by escape": (b'{"a":1,"\\u0061":3}', "duplicate key: f, got 'a'"),
    "duplicate inside": (b'{"x":[{"a":1,"a":1}]}', "duplicate key"),
    "twins": (b'{"config":1,"Config":2}', "keys differ in case only: f, got 'config' and 'Config'"),
    "twins inside": (b'{"x":[{"a":1,"A":1}]}', "keys differ in case only"),
    "twins by folding": ('{"\u017f":1,"s":2}'.encode(), "keys differ in case only"),
    "twins by the Kelvin sign": ('{"\u212a":1,"k":2}'.encode(), "keys differ in case only"),
    "twins in a value of annotations": (b'{"annotations":{"x":{"a":1,"A":1}}}', "keys differ in case only"),
    "big integer": (b'{"a":9007199254740992}', "integer too large: f"),
    "big negative integer": (b'{"a":-9007199254740992}', "integer too large"),
    "a long integer": (b'{"a":1' + b"0" * 100_000 + b"}", "integer too large"),
    "deep": (
        b'{"a":' * MAX_JSON_DEPTH + b"{}" + b"}" * MAX_JSON_DEPTH,
        "nested too deeply: f, want at most 32",
    ),
    "deep lists": (b'{"a":' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH + b"}", "nested too deeply"),
    "very deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "very deep lists": (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    "too many lists": (b'{"a":[' + b"[]," * 1_000_000 + b"[]]}", "too many values: f, want at most 287,"),
    "too many numbers": (b'{"a":[' + b"0," * 1_000_000 + b"0]}", "too many values: f"),
    "too long": (b"{}" + b" " * MAX_JSON_BYTES, "too large: f, want at most 4,194,304 bytes"),
}


@pytest.mark.parametrize(("raw", "words"), BAD.values(), ids=BAD)
def test_refused(raw, words):
    with pytest.raises(FormatError) as caught:
        parse_object(raw, "f")
    assert words in str(caught.value)
    assert isinstance(caught.value, AmbiguousError) == words.startswith(("duplicate", "keys differ"))


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b' {"a":1}\n',
        b'{"a":9007199254740991,"b":-9007199254740991}',
        b'{"a":1.5e3}',
        b'{"annotations":{"a":"1","A":"2"}}',
        b'{"config":{"Labels":{"Version":"1","version":"2"},"Volumes":{"/A":{},"/a":{}}}}',
        b'{"ExposedPorts":{"80/TCP":{},"80/tcp":{}}}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":' * (MAX_JSON_DEPTH - 1) + b"{}" + b"}" * (MAX_JSON_DEPTH - 1),
    ],
)
def test_accepted(raw):
    assert parse_object(raw, "f") == json.loads(raw)


@pytest.mark.parametrize("raw", [b'{"a":1.0}', b'{"a":1e3}', b'{"a":[-0.0]}'])
def test_no_reals_where_there_are_none(raw):
    with pytest.raises(FormatError, match="not an integer"):
        parse_object(raw, "f", floats=False)


def test_its_own_limit():
    with pytest.raises(FormatError, match="at most 3 bytes"):
        parse_object(b"{  }", "f", max_bytes=3)


def test_what_is_just_within_the_limits_is_accepted():
    assert parse_object(b"{  }", "f", max_bytes=4) == {}
    numbers = b"0," * 114_284
    assert parse_object(b'{"a":[' + numbers + b"0]}", "f")
    with pytest.raises(FormatError, match="want at most 114,286, got 114,287"):
        parse_object(b'{"a":[' + numbers + b"0,0]}", "f")


def test_of_many_keys_the_last_is_there_twice():
    """Comparing each key with each other would take so long that it would show."""
    raw = b"{" + b"".join(b'"%d":0,' % i for i in range(200_000)) + b'"199999":0}'
    with pytest.raises(AmbiguousError, match="199999"):
        parse_object(raw, "f")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_JSON_INTEGER, MAX_JSON_INTEGER) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcé", max_size=3), JSON, max_size=3))
def test_what_is_dumped_is_read(value):
    assert parse_object(dump(value), "f", floats=False) == value


@settings(max_examples=120)
@given(st.binary(max_size=40) | st.text('{}[]",:\\u0aAté1.-e ', max_size=40).map(str.encode))
def test_agrees_with_another_reader_or_refuses(raw):
    try:
        found = parse_object(raw, "f")
    except FormatError:
        return
    assert found == json.loads(raw)


def test_dumped_bytes_are_ascii_without_spaces():
    assert dump({"a": [1, "é"]}) == b'{"a":[1,"\\u00e9"]}'


def test_the_deepest_list():
    raw = b'{"a":' + b"[" * (MAX_JSON_DEPTH - 1) + b"]" * (MAX_JSON_DEPTH - 1) + b"}"
    assert parse_object(raw, "f") == json.loads(raw)


def test_what_is_no_number_is_not_dumped():
    with pytest.raises(ValueError, match="JSON"):
        dump(float("nan"))


class TestFields:
    VALUE: ClassVar = {
        "text": "a", "number": 3, "zero": 0, "minus": -1, "flag": True, "nothing": None, "list": ["a", "b"],
        "mixed": ["a", 1], "object": {"x": "y"}, "texts and numbers": {"x": "y", "z": 1}, "objects": [{"x": 1}, {"x": 2}], "time": "2026-01-31T12:00:00Z",
    }  # fmt: skip

    @pytest.fixture
    def fields(self):
        return Fields(self.VALUE, "f")

    def test_typed(self, fields):
        assert fields.text("text") == "a"
        assert fields.optional_text("nothing") is None
        assert fields.optional_text("text") == "a"
        assert (fields.integer("number"), fields.integer("zero")) == (3, 0)
        assert fields.boolean("flag") is True
        assert fields.items("mixed") == ["a", 1]
        assert fields.texts("list") == ("a", "b")
        assert fields.child("object").text("x") == "y"
        assert [each.integer("x") for each in fields.children("objects")] == [1, 2]
        assert fields.string_map("object") == {"x": "y"}
        assert fields.string_map("absent") == {}
        assert fields.time("time").isoformat() == "2026-01-31T12:00:00+00:00"
        assert fields.has("nothing")
        assert not fields.has("absent")
        assert fields.keys() == tuple(self.VALUE)

    @pytest.mark.parametrize(
        ("read", "words"),
        [
            (lambda f: f.text("number"), "f: number, want a string, got an integer"),
            (lambda f: f.text("absent"), "f: absent, want a string, got nothing"),
            (lambda f: f.optional_text("flag"), "want a string, got a boolean"),
            (lambda f: f.integer("flag"), "want an integer, got a boolean"),
            (lambda f: f.integer("minus"), "negative: f: minus, got -1"),
            (lambda f: f.integer("text"), "want an integer, got a string"),
            (lambda f: f.boolean("number"), "want a boolean, got an integer"),
            (lambda f: f.items("object"), "want a list, got an object"),
            (lambda f: f.texts("mixed"), "f: mixed, want strings, got an integer"),
            (lambda f: f.child("list"), "wrong type: f: list, want an object, got a list"),
            (lambda f: f.children("mixed"), "wrong type: f: mixed[0], want an object, got a string"),
            (lambda f: f.string_map("list"), "want an object of strings, got a list"),
            (lambda f: f.string_map("texts and numbers"), "want an object of strings, got an object"),
            (lambda f: f.children("objects")[1].text("x"), "f: objects[1]: x"),
            (lambda f: f.time("text"), "not a time: f: text"),
            (lambda f: Fields([], "g"), "wrong type: g, want an object, got a list"),
        ],
    )
    def test_wrong(self, fields, read, words):
        with pytest.raises(FormatError) as caught:
            read(fields)
        assert words in str(caught.value)

    def test_end(self, fields):
        for key in self.VALUE:
            if key != "flag":
                fields.take(key)
        with pytest.raises(FormatError, match="unknown field: f, got 'flag'") as caught:
            fields.end("a hint")
        assert caught.value.hint == "a hint"
        fields.take("flag")
        fields.end()


def test_kinds():
    assert [kind(value) for value in ({}, [], "", True, 1, 1.5, None)] == [
        "an object", "a list", "a string", "a boolean", "an integer", "a number", "nothing",
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["-0", "1e999", "-1e999"])
def test_numbers_that_readers_understand_differently_are_refused(number: str) -> None:
    with pytest.raises(AmbiguousError):
        parse_object(f'{{"a":{number}}}'.encode(), "x")
