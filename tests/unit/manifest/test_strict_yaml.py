"""YAML in one reading: what is kept as text, where it stands, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError, MediaError
from airgap.limits import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_VALUES
from airgap.manifest import strict_yaml
from airgap.manifest.strict_yaml import Position, dump_yaml, parse_yaml, read_yaml_file


def test_every_scalar_is_the_text_in_the_file():
    raw = b"a: 1.10\nb: no\nc: 22:22\nd: ~\ne:\nf: 0x1F\ng: 2026-01-01\nh: 'it''s'\ni: \"\\x41\"\nj: true # not this\n"
    assert parse_yaml(raw, "f").value == {
        "a": "1.10", "b": "no", "c": "22:22", "d": "~", "e": "", "f": "0x1F",
        "g": "2026-01-01", "h": "it's", "i": "A", "j": "true",
    }  # fmt: skip


def test_lists_and_mappings_nest_and_know_their_places():
    document = parse_yaml(b"top:\n  - one\n  - {two: 2, three: [x, y]}\n", "f")
    assert document.value == {"top": ["one", {"two": "2", "three": ["x", "y"]}]}
    assert document.values["top", 1, "three", 1] == Position(3, 25)
    assert document.keys["top", 1, "three"] == Position(3, 14)
    assert document.at(("top",), key=True) == "f:1:1"
    assert document.find(("top", 1, "three", 0)) == "x"
    assert document.line(("top", 0)) == 2


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfa: b\n", b"a: b\r\n", b"--- \na: b\n...\n", b"\n# c\na: b"])
def test_harmless_forms_of_the_same_document(raw):
    assert parse_yaml(raw, "f").value == {"a": "b"}


BAD = {
    "empty": (b"", "empty document: f:1:1, want a mapping", None),
    "only a comment": (b"# nothing\n", "empty document: f:1:1", None),
    "anchor": (b"a: 1\nb: &x 2\n", "YAML anchors and aliases are not allowed: f:2:4, got &x", "write the value out"),
    "anchor on a list": (b"a: &l [1]\n", "anchors and aliases are not allowed: f:1:4, got &l", None),
    "alias": (b"a:\n  - *x\n", "YAML anchors and aliases are not allowed: f:2:5, got *x", None),
    "alias as key": (b"*a : b\n", "YAML anchors and aliases are not allowed: f:1:1, got *a", None),
    "tag": (b"a: !!python/object:os.system x\n", "YAML tags are not allowed: f:1:4, got tag:yaml.org,2002:python", None),
    "short tag": (b"a: ! x\n", "YAML tags are not allowed: f:1:4, got !", None),
    "tag on a mapping": (b"a: !m {b: c}\n", "YAML tags are not allowed: f:1:4, got !m", None),
    "merge key": (b"a: 1\n<<: {b: c}\n", "YAML merge keys are not allowed: f:2:1, got '<<'", None),
    "duplicate key": (b"a: 1\nb: 2\na: 3\n", "duplicate key: f:3:1, got 'a', as on line 1", None),
    "duplicate key, quoted": (b"x:\n  a: 1\n  'a': 3\n", "duplicate key: f:3:3, got 'a', as on line 2", None),
    "duplicate empty key": (b"'': 1\n'': 2\n", "duplicate key: f:2:1, got nothing", None),
    "list as key": (b"? [a]\n: b\n", "not a key: f:1:3, want text, got a list or a mapping", None),
    "two documents": (b"a: b\n---\nc: d\n", "more than one document: f:2:1", None),
    "directive": (b"%YAML 1.1\n---\na: b\n", "YAML directives are not allowed: f:1:1", None),
    "unknown directive": (b"# c\n%FOO x\n---\na: b\n", "YAML directives are not allowed: f:2:1", None),
    "absurd version": (b"%YAML " + b"9" * 5000 + b".1\n---\na: b\n", "not YAML: f:1:1, got a number out of range", None),
    "tab": (b"a:\n\tb: c\n", "not YAML: f:2:1, got while scanning for the next token, found character", "indent with spaces"),
    "open list": (b"a: [b\nc: d\n", "not YAML: f:2:", None),
    "open quote": (b"a: 'b\n", "not YAML: f:2:1", None),
    "bad indentation": (b"a: 1\n  b: 2\n", "not YAML: f:2:4, got mapping values are not allowed here", None),
    "no such escape": (rb'a: "\q"', "not YAML: f:1:6", None),
    "no such character": (rb'a: "\UFFFFFFFF"', "not YAML: f:1:2, got a number out of range", None),
    "escaped control": (rb'a: "b\x07"', "control character: f:1:4, got U+0007", None),
    "escaped override": (rb'"\u202e": b', "control character: f:1:1, got U+202E", None),
    "escaped surrogate": (rb'a: "\ud800"', "control character: f:1:4, got U+D800", None),
    "escaped zero": (rb'a: "\0"', "control character: f:1:4, got U+0000", None),
    "control": (b"a: b\nc: \x1b[31m\n", "control character: f:2:4, got U+001B", None),
    "zero": (b"\0", "control character: f:1:1, got U+0000", None),
    "delete": (b"a: \x7f\n", "control character: f:1:4, got U+007F", None),
    "next line": ("a: b\x85c: d".encode(), "control character: f:1:5, got U+0085", None),
    "line separator": ("a: b\u2028c: d".encode(), "control character: f:1:5, got U+2028", None),
    "bare carriage return": (b"a: b\rc: d\n", "control character: f:1:5, got U+000D", None),
    "override in a comment": ("a: b # \u202egood\n".encode(), "control character: f:1:8, got U+202E", None),
    "second byte order mark": ("\ufeff\ufeffa: b".encode(), "control character: f:1:1, got U+FEFF", None),
    "Latin-1": ("a: b\nc: café\n".encode("latin-1"), "not UTF-8: f:2, got byte 0xe9", None),
    "UTF-16": ("a: b\n".encode("utf-16"), "not UTF-8: f:1, got byte 0xff", None),
    "coded surrogate": (b"a: \xed\xa0\x80", "not UTF-8: f:1, got byte 0xed", None),
    "too large": (b"#" * (MAX_YAML_BYTES + 1), "too large: f, want at most 1,048,576 bytes, got more", None),
    "deep flow": (b"[" * 200_000, f"nested too deeply: f:1:17, want at most {MAX_YAML_DEPTH} levels", None),
    "deep block": ("".join(f"{' ' * i}a:\n" for i in range(40)).encode(), "nested too deeply: f:17:17", None),
    "too many": (b"[" + b"," .join([b"a"] * (MAX_YAML_VALUES + 1)) + b"]", "too many values: f:1:", None),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_with_the_place(case):
    raw, message, hint = BAD[case]
    with pytest.raises(FormatError) as caught:
        parse_yaml(raw, "f")
    assert message in str(caught.value)
    assert (hint or "") in (caught.value.hint or "")


def test_an_alias_bomb_ends_at_its_first_anchor():
    bomb = b"a: &a [x, x]\n" + b"".join(
        b"%c: &%c [*%c, *%c]\n" % (c + 1, c + 1, c, c) for c in range(ord("a"), ord("y"))
    )
    with pytest.raises(FormatError, match="anchors and aliases are not allowed: f:1:4"):
        parse_yaml(bomb, "f")


def test_a_byte_order_mark_does_not_shift_the_place_of_bad_bytes():
    with pytest.raises(FormatError, match="not UTF-8: f:2, got byte 0xff"):
        parse_yaml(b"\xef\xbb\xbfa\n\xff", "f")


def test_read_takes_one_byte_more_than_allowed(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"12345")
    assert read_yaml_file(file, 3) == b"1234"
    assert read_yaml_file(file) == b"12345"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.yaml", r"no such file: .*absent\.yaml$"),
        ("", "cannot be read: .*, got Is a directory"),
        ("a\0b", "cannot be read: .*, got an invalid path"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, message):
    with pytest.raises(FormatError, match=message):
        read_yaml_file(tmp_path / name if name else Path(tmp_path))


@pytest.mark.parametrize(
    ("value", "words"),
    [("", "nothing"), ("x", "'x'"), ("y" * 100, "'" + "y" * 79 + "…'"), ([], "a list"), ({}, "a mapping")],
)
def test_describe(value, words):
    assert strict_yaml.describe_value(value) == words


def check_only_format_errors(raw):
    try:
        parse_yaml(raw, "f")
    except FormatError as error:
        assert str(error.subject).startswith("f")  # noqa: PT017


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_a_format_error(raw):
    check_only_format_errors(raw)


@settings(max_examples=120, deadline=None)
@given(st.text(alphabet="ab01-:,?&*!|>'\"%@#{}[]\\xuU \n\t.~<", max_size=60))
def test_any_yaml_like_text_gives_a_document_or_a_format_error(text):
    check_only_format_errors(text.encode())


texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20).filter(
    lambda text: text != "<<"
)
values = st.recursive(
    texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=80, deadline=None)
@given(values)
def test_what_is_dumped_reads_back_the_same(value):
    assert parse_yaml(dump_yaml(value), "f").value == value


def test_a_disk_that_fails_is_no_bad_manifest(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(5, "bad")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(MediaError, match=f"cannot read: {tmp_path}/stack.yaml, got bad"):
        read_yaml_file(tmp_path / "stack.yaml")
