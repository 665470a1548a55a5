"""What a far airgap may say, and what not."""

import json

import pytest

from airgap import errors
from airgap.carry.remote_load import LoadWay, cannot_load_error, has_airgap, load_there
from airgap.endpoints.remote import CommandResult
from airgap.errors import DestinationError, PartialError, TransportError
from tests.support.far import MemoryHost

SHA = "ab" * 32
IMAGE = {"reference": "a:1", "digest": "sha256:0", "verdict": "loaded", "before": None}
GOOD = {"bundle": "b", "statement_sha256": SHA, "receipt": "/r", "images": [IMAGE], "error": None}


def saying(value: object, code: int = 0, err: bytes = b"") -> MemoryHost:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return MemoryHost(programs={"airgap": lambda _: CommandResult(code, raw, err)})


def load(host: MemoryHost):
    return load_there(host, "/home/b-0001", "docker", SHA, {"a:1"})


def told(kind: str, code: int, **more: object) -> dict[str, object]:
    return {"error": {"kind": kind, "message": "why", "hint": "do", "exit_code": code}, **more}


@pytest.mark.parametrize(
    ("out", "code", "want"),
    [
        (b"airgap 0.1.0\n", 0, True),
        (b"airgap 1.2.3.dev4+local", 0, True),
        (b"airgap 0.1.0\n", 1, False),
        (b"airgap", 0, False),
        (b"welcome\nairgap 1.0\n", 0, False),
        (b"", 127, False),
    ],
)
def test_is_there_one(out, code, want):
    assert has_airgap(saying(out, code)) is want


def test_none_where_nothing_runs():
    assert not has_airgap(MemoryHost())
    assert not has_airgap(MemoryHost(programs={"airgap": lambda _: None}))
    assert "--load docker" in cannot_load_error(MemoryHost()).hint


def test_loaded():
    seen = []
    host = MemoryHost(
        programs={
            "airgap": lambda argv: seen.append(argv) or CommandResult(0, json.dumps(GOOD).encode(), b"")
        }
    )
    found = load(host)
    assert (found.way, found.images, found.receipt, found.failure) == (
        LoadWay.THERE,
        (("a:1", "loaded"),),
        "/r",
        None,
    )
    assert seen == [["airgap", "load", "/home/b-0001", "--to", "docker", "--json", "--quiet"]]


def test_some_failed():
    found = load(saying(GOOD | told("PartialError", 3), 3))
    assert isinstance(found.failure, PartialError)
    assert str(found.failure) == "on plant: why"
    assert found.images == (("a:1", "loaded"),)


@pytest.mark.parametrize(
    "kind",
    [
        each.__name__
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.AirgapError)
    ],
)
def test_errors_keep_their_class(kind):
    code = getattr(errors, kind).exit_code
    with pytest.raises(errors.AirgapError) as caught:
        load(saying(told(kind, code), code))
    assert type(caught.value).__name__ == kind
    assert (str(caught.value), caught.value.hint) == ("on plant: why", "on plant: do")


def test_long_words_are_cut():
    value = told("DestinationError", 15)
    value["error"]["message"] = "x" * 100_000
    with pytest.raises(DestinationError) as caught:
        load(saying(value, 15))
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", 0),
        (b"not json", 0),
        (b"[]", 0),
        ({}, 0),
        ({"error": None}, 0),
        (GOOD | {"images": "a"}, 0),
        (GOOD | {"images": ["a"]}, 0),
        (GOOD | {"images": [{"reference": "a"}]}, 0),
        (GOOD | {"receipt": 1}, 0),
        (GOOD | {"images": [IMAGE | {"reference": "evil.example/never:1"}]}, 0),
        (GOOD | {"images": [IMAGE | {"verdict": "fine"}]}, 0),
        (GOOD | {"images": [IMAGE] * 2}, 0),
        (GOOD | {"images": []}, 0),
        (GOOD | {"images": [IMAGE | {"verdict": "failed"}]}, 0),
        (GOOD, 1),
        (told("SystemExit", 1), 1),
        (told("printable", 1), 1),
        (told("Mapping", 1), 1),
        (told("DestinationError", 15), 0),
        (told("DestinationError", 14), 15),
        ({"error": "x"}, 1),
        ({"error": {"kind": 1}}, 1),
        (b'{"error": null, "error": null}', 0),
        (b"\xff", 0),
    ],
)
def test_what_cannot_be_understood(value, code):
    host = saying(value, code, err=b"\x1b[2J some words")
    if code == 15 and isinstance(value, dict) and value["error"]["exit_code"] == 14:
        with pytest.raises(DestinationError):  # the process's own code is what counts
            load(host)
        return
    with pytest.raises(TransportError, match="cannot understand the answer: plant: airgap load"):
        load(host)


def test_its_words_are_shown_when_it_fails():
    with pytest.raises(TransportError, match="got exit code 1: Traceback of something"):
        load(saying(b"", 1, err=b"Traceback of something\n"))


def test_another_bundle():
    with pytest.raises(TransportError, match="another bundle was loaded"):
        load(saying(GOOD | {"statement_sha256": "cd" * 32}))


def test_no_commands_after_all():
    with pytest.raises(TransportError, match="cannot run airgap on the host"):
        load(MemoryHost(programs={"airgap": lambda _: None}))
