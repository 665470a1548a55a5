"""Forms and the parser must agree on each line, and the chain must be checked alike with and without forms."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.audit import chain, forms
from airgap.audit.chain import check_ledger
from airgap.audit.forms import KnownForms, head_of
from airgap.audit.lines import read_ledger
from airgap.audit.record import parse_record
from airgap.errors import FormatError, LedgerError
from airgap.oci.strict_json import dump
from tests.unit.audit.ledgers import IMAGE, STATEMENT, lines_of, new_ledger, sha256

BUNDLE = {"stream": "edge", "serial": 7, "statement_sha256": STATEMENT}
IMAGES = [{"reference": "app:1", "digest": IMAGE}, {"reference": "db:2", "digest": IMAGE, "files": []}]


@pytest.fixture(autouse=True)
def quick_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_UNLEARNED", 0)
    monkeypatch.setattr(forms, "_SEEN", 1)


def written(folder: Path) -> Path:
    """A ledger of several forms, each more than once."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = new_ledger(folder)
    for number in range(3):
        with ledger.attempt("load", target="oci:/x", bundle=BUNDLE | {"serial": number}) as attempt:
            attempt.add(images=IMAGES[: number + 1], step_back=True, note=None, nested=[[], [number]])
        ledger.append("verify", "note", alarms=["a", "b"], nothing={})
    return ledger.path


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return lines_of(written(tmp_path_factory.mktemp("forms")))


def learned(lines: list[bytes]) -> KnownForms:
    known = KnownForms()
    for line in lines:
        known.learn(line, parse_record(line, "line"))
    return known


def assert_agreement(known: KnownForms, raw: bytes) -> bool:
    """Return whether the form of the line is known; then the parser must accept it, with the same head."""
    head = known.recognise(raw)
    if head is not None:
        parsed = head_of(parse_record(raw, "line"))
        assert head[:-1] == parsed[:-1]
        assert set(head.keys) < set(parsed.keys)
    return head is not None


def test_each_learned_line_is_recognised(lines: list[bytes]) -> None:
    assert all(assert_agreement(learned(lines), line) for line in lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"user":"[^"]*"', b'"user":"someone else"'),
        (b'"serial":0', b'"serial":999999999999999'),
        (b'"serial":0', b'"serial":-12'),
        (b'"target":"[^"]*"', b'"target":""'),
        (b'"boot_id":(null|"[^"]*")', b'"boot_id":null'),
        (b'"target":"[^"]*"', b'"target":"{}[]:,null"'),
    ],
)
def test_other_plain_values_have_the_form(lines: list[bytes], old: bytes, new: bytes) -> None:
    assert assert_agreement(learned(lines), re.sub(old, new, lines[0], count=1))


@pytest.mark.parametrize("images", [IMAGES[:1] * 40, IMAGES[::-1], IMAGES * 2])
def test_a_list_may_have_any_number_of_known_items(lines: list[bytes], images: list[object]) -> None:
    known = learned([lines[7]])
    raw = dump(parse_record(lines[7], "line") | {"images": images})
    assert assert_agreement(known, raw)


WRONG = [
    (b'"target":', b'"target":"x","target":'),
    (b'"serial":0', b'"serial":0,"serial":1'),
    (b'"serial":0', b'"serial":0,"Serial":1'),
    (b'"serial":0', b'"serial":NaN'),
    (b'"serial":0', b'"serial":Infinity'),
    (b'"serial":0', b'"serial":1.5'),
    (b'"serial":0', b'"serial":1e2'),
    (b'"serial":0', b'"serial":-0'),
    (b'"serial":0', b'"serial":01'),
    (b'"serial":0', b'"serial":9007199254740993'),
    (b'"serial":0', b'"serial":' + b"9" * 400),
    (b'"serial":0', b'"serial":'),
    (b'"serial":0', b'"serial":0,'),
    (b'"serial":0', b'"serial":"0'),
    (b'"phase":"begin"', b'"phase":"middle"'),
    (b'"seq":1', b'"seq":0'),
    (b'"seq":1', b'"seq":01'),
    (b'"seq":1', b'"seq":-1'),
    (b'"seq":1', b'"seq":1.0'),
    (b'"seq":1', b'"seq":true'),
    (b'"seq":1', b'"seq":"1"'),
    (b'"prev":"0', b'"prev":"A'),
    (b'"prev":"0', b'"prev":"'),
    (b'"time":"2026-01-31T12', b'"time":"2026-01-31T24'),
    (b'"time":"2026-01-31T', b'"time":"2026-02-31T'),
    (b'"time":"2026-01-31T', b'"time":"2026-01-31 '),
    (b'"user":"', b'"user":"\x00'),
    (b'"user":"', b'"user":"\x1f'),
    (b'"user":"', b'"user":"\xff'),
    (b'"user":"', b'"user":"\\ud800'),
    (b'"user":"', b'"user":"\\x'),
    (b'"user":"', b'"user":""'),
    (b'"user":"', b'"user":null,"x":"'),
    (b"}$", b"}}"),
    (b"}$", b"}]"),
    (b"}$", b"} x"),
    (b"}$", b"}\x00"),
    (b"}$", b""),
    (b"^", b"\xef\xbb\xbf"),
    (b"^", b"\x00"),
    (b"^.{20}", b""),
    (b".{20}$", b""),
    (b"}$", b',"x":' + b"[" * 40 + b"]" * 40 + b"}"),
    (b"}$", b',"Host":"x"}'),
]


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_what_the_parser_refuses_is_not_recognised(lines: list[bytes], old: bytes, new: bytes) -> None:
    raw = re.sub(old, lambda _: new, lines[0], count=1)
    assert raw != lines[0]
    with pytest.raises(FormatError):
        parse_record(raw, "line")
    assert learned(lines).recognise(raw) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"serial":0', b'"serial": 0'),
        (b"}$", b"}\r"),
        (b"}$", b"} "),
        (b'"user":"', b'"user":"\xc3\xa9'),
        (b'"user":"', b'"user":"\\u00e9'),
        (b'"user":"', b'"user":"\x7f'),
        (b'"serial":0', b'"serial":null'),
        (b'"serial":0', b'"serial":9007199254740991'),
        (b'"seq":1,"prev":"0*"', b'"prev":"' + b"0" * 64 + b'","seq":1'),
        (b"}$", b',"x":1}'),
    ],
)
def test_unusual_records_are_left_to_the_parser(lines: list[bytes], old: bytes, new: bytes) -> None:
    raw = re.sub(old, lambda _: new, lines[0], count=1)
    assert parse_record(raw, "line")
    assert learned(lines).recognise(raw) is None


PIECES = [
    *(new for _, new in WRONG), b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"e", b".", b" ",
    b"\t", b"\r", b"\n", b"null", b"true", b'"begin":1', b',"begin":2', b"\x00",
]  # fmt: skip


@st.composite
def edits(draw: st.DrawFn, size: int) -> Callable[[bytes], bytes]:
    start = draw(st.integers(0, size))
    end = draw(st.integers(start, min(size, start + draw(st.integers(0, 40)))))
    piece = draw(st.sampled_from(PIECES) | st.binary(max_size=3))
    return lambda data: data[:start] + piece + data[end:]


@given(data=st.data())
@settings(max_examples=1500, deadline=None)
def test_the_parser_accepts_each_mutant_that_is_recognised(lines: list[bytes], data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(lines))
    known = learned(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        raw = data.draw(edits(len(raw)))(raw)
    assert_agreement(known, raw)


def verdict(path: Path) -> object:
    try:
        return check_ledger(path, at=range(30))
    except LedgerError as error:
        return str(error), error.subject, error.hint


def assert_same_with_and_without_forms(path: Path) -> None:
    with_forms, fields = verdict(path), [line.fields for line in read_ledger(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KnownForms, "recognise", lambda *_: None)
        assert with_forms == verdict(path)
        assert fields == [line.fields for line in read_ledger(path)]


def rechained(lines: list[bytes]) -> list[bytes]:
    """The lines with the numbers and hashes of an intact chain."""
    chained: list[bytes] = []
    for number, line in enumerate(lines, 1):
        prev = sha256(chained[-1]) if chained else "0" * 64
        head = b'{"seq":%d,"prev":"%s"' % (number, prev.encode())
        chained.append(re.sub(rb'^\{"seq":[0-9]+,"prev":"[0-9a-f]{64}"', head, line))
    return chained


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_ledger_has_the_same_verdict(
    lines: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = rechained([*lines, *lines, *lines])
    place = data.draw(st.integers(0, len(changed) - 1))
    match data.draw(st.sampled_from(["edit", "edit and chain", "swap", "repeat", "delete", "cut"])):
        case "edit":
            changed[place] = data.draw(edits(len(changed[place])))(changed[place])
        case "edit and chain":
            changed[place] = data.draw(edits(len(changed[place])))(changed[place])
            changed = rechained(changed)
        case "swap":
            changed[place - 1], changed[place] = changed[place], changed[place - 1]
        case "repeat":
            changed.insert(place, changed[place])
        case "delete":
            del changed[place]
    raw = b"".join(line + b"\n" for line in changed)
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    path = tmp_path_factory.getbasetemp() / "mutant.jsonl"
    path.write_bytes(raw)
    path.chmod(0o600)
    assert_same_with_and_without_forms(path)


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_a_wrong_line_has_the_same_verdict(
    lines: list[bytes], tmp_path: Path, old: bytes, new: bytes
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.touch(0o600)
    for place, line in enumerate(lines):
        changed = rechained([*lines, *lines])
        changed[len(lines) + place] = re.sub(old, lambda _: new, line, count=1)
        path.write_bytes(b"".join(line + b"\n" for line in changed))
        assert_same_with_and_without_forms(path)


def test_most_lines_of_a_ledger_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    parse = chain.parse_line

    def counting(*arguments: object) -> object:
        parsed.append(1)
        return parse(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "parse_line", counting)
    changed = rechained(lines_of(written(tmp_path)) * 50)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in changed))
    path.chmod(0o600)
    assert check_ledger(path).size == len(changed)
    assert len(parsed) <= len(changed) // 50


def test_nested_lists_do_not_make_a_long_form() -> None:
    value: object = ["x"]
    for _ in range(20):
        value = [value, [value]]
    known = KnownForms()
    line = b'{"seq":1}'
    with pytest.raises(forms._NoFormError):
        forms._pattern_of_details({"x": value})
    assert known.recognise(line) is None


def test_a_nested_begin_is_not_the_record_s() -> None:
    pattern = re.compile(forms._pattern_of_details({"x": {"y": 1, "begin": 2}, "begin": 3}).encode())
    match = pattern.fullmatch(b',"x":{"y":1,"begin":22},"begin":33}')
    assert match
    assert match["begin"] == b"33"
