"""A medium that was lost: `airgap audit medium`, and the reports and warnings that follow."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.medium import Medium
from tests.cli.conftest import Gap

SERIAL, REASON = "4C530001", "left in a taxi"
NOT_ENCRYPTED = "Bundles are not encrypted"


@pytest.fixture
def sticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named after sticks say that they are sticks: `stick` has the serial, `other` and `third` have
    one label.
    """
    real = Medium.of

    def described(path: Path, *rest: object) -> Medium:
        found = real(path, *rest)  # type: ignore[arg-type]
        names = Path(path).parts
        if "stick" in names:
            return replace(found, vendor="SanDisk", product="Ultra", serial=SERIAL, label="STICK")
        if "other" in names or "third" in names:
            return replace(found, uuid="AA-1" if "other" in names else "AA-2", label="USB")
        return found

    monkeypatch.setattr(Medium, "of", described)


@pytest.fixture
def packed(gap: Gap, sticks: None) -> Gap:
    """A bundle on `stick`."""
    gap.pack()
    return gap


def lose(gap: Gap, *words: object) -> dict:  # type: ignore[type-arg]
    done = gap.online("audit", "medium", "lost", *(words or (SERIAL,)), "--reason", REASON, "--json").json
    assert isinstance(done, dict)
    return done


@pytest.mark.parametrize("name", [SERIAL, "STICK", f'SanDisk Ultra {SERIAL} "STICK"'])
def test_a_medium_is_named_as_reports_show_it(packed: Gap, name: str) -> None:
    lost = lose(packed, name)
    assert (lost["medium"], lost["reason"]) == (f'SanDisk Ultra {SERIAL} "STICK"', REASON)
    [bundle] = lost["bundles"]
    assert (bundle["bundle"], bundle["confirmed_by"]) == ("stack-0001", [])
    last = packed.online.records()[-1]
    assert (last["event"], last["phase"], last["change"]) == ("medium", "note", "lost")
    assert (last["reason"], last["medium"]["serial"]) == (REASON, SERIAL)


def test_the_first_mark_counts(packed: Gap) -> None:
    first = lose(packed)
    again = packed.online("audit", "medium", "lost", SERIAL, "--reason", "another", "--json").json
    assert again == first
    assert sum(record["event"] == "medium" for record in packed.online.records()) == 1


def test_what_was_on_it_is_said(packed: Gap) -> None:
    out = packed.online("audit", "medium", "lost", SERIAL, "--reason", REASON).out
    assert f'lost: SanDisk Ultra {SERIAL} "STICK", since 20' in out
    assert "stack-0001" in out
    assert "no site" in out
    assert NOT_ENCRYPTED in out


def test_reports_show_it(packed: Gap) -> None:
    lose(packed)
    page = packed.folder / "page.html"
    out = packed.online("audit", "report", "--html", page).out
    assert "lost media:" in out
    assert NOT_ENCRYPTED in out
    assert NOT_ENCRYPTED in page.read_text()
    assert REASON in page.read_text()
    [lost] = packed.online("audit", "report", "--json").json["lost_media"]
    assert [bundle["bundle"] for bundle in lost["bundles"]] == ["stack-0001"]
    rows = packed.online("audit", "export").out.splitlines()
    assert any(row.endswith(f'STICK"": {REASON}"') for row in rows)


def test_found_again(packed: Gap) -> None:
    lose(packed)
    done = packed.online("audit", "medium", "found", "STICK")
    assert done.out == f'found: SanDisk Ultra {SERIAL} "STICK"\n'
    assert packed.online("audit", "report", "--json").json["lost_media"] == []
    assert "not marked as lost" in packed.online("audit", "medium", "found", SERIAL, code=2).err
    assert packed.online("verify", "--media", packed.stick / "stack-0001").err.count("warning") == 0
    assert lose(packed)["seen_again"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("pack", "{folder}/stack.yaml", "--to", "{stick}"),
        ("verify", "--media", "{stick}/stack-0001"),
        ("repack", "{stick}/stack-0001", "--to", "{folder}/elsewhere"),
    ],
    ids=["pack", "verify", "repack"],
)
def test_who_uses_it_is_warned_and_not_refused(packed: Gap, words: tuple[str, ...]) -> None:
    lose(packed)
    (packed.folder / "elsewhere").mkdir()
    places = {"folder": packed.folder, "stick": packed.stick}
    done = packed.online(*(word.format(**places) for word in words))
    assert f'warning: SanDisk Ultra {SERIAL} "STICK" is marked as lost since 20' in done.err
    assert f"({REASON})" in done.err
    alarms = [record for record in packed.online.records() if record["event"] == "alarm"]
    assert len(alarms) == 1


def test_the_receiving_side_marks_its_own(packed: Gap) -> None:
    bundle = packed.stick / "stack-0001"
    packed.offline("verify", "--media", bundle)
    packed.offline("audit", "medium", "lost", "STICK", "--reason", REASON)
    for words in (("verify",), ("load", "--to", f"oci:{packed.folder / 'out'}")):
        assert "is marked as lost" in packed.offline(words[0], bundle, *words[1:]).err
    [lost] = packed.offline("audit", "report", "--json").json["lost_media"]
    assert [found["confirmed_by"] for found in lost["bundles"]] == [["plant-7"]]


def test_use_after_the_mark_is_shown(packed: Gap) -> None:
    lose(packed)
    packed.online("verify", "--media", packed.stick / "stack-0001")
    assert lose(packed)["seen_again"] is not None
    assert "(used again since)" in packed.online("audit", "report").out


def test_another_medium_has_no_warning(packed: Gap) -> None:
    lose(packed)
    (packed.folder / "other").mkdir()
    path = packed.folder / "stack.yaml"
    assert "lost" not in packed.online("pack", path, "--to", packed.folder / "other").err


# -- bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("USB",), 'several media match: USB, want one serial, label or UUID, got "USB" (UUID AA-1), "USB" (UUID AA-2)'),
        (("4C53",), "there is no such medium in the ledger: 4C53, want a serial, label or UUID, got"),
        (("stick",), "there is no such medium in the ledger: stick"),
        (("\x1b[2J",), "there is no such medium in the ledger: \\x1b[2J"),
        ((SERIAL, "--reason", "\x07"), "not a reason: --reason"),
    ],
    ids=["ambiguous", "a part", "another case", "escape", "reason"],
)  # fmt: skip
def test_what_is_no_medium(packed: Gap, words: tuple[str, ...], message: str) -> None:
    path = packed.folder / "stack.yaml"
    for name in ("other", "third"):
        (packed.folder / name).mkdir()
        packed.online("pack", path, "--to", packed.folder / name)
    words = words if "--reason" in words else (*words, "--reason", "x")
    assert message in packed.online("audit", "medium", "lost", *words, code=2).err
    assert not any(record["event"] == "medium" for record in packed.online.records())


def test_a_ledger_without_named_media(gap: Gap) -> None:
    gap.pack()
    refused = gap.online("audit", "medium", "lost", "x", "--reason", "x", code=2)
    assert "there is no such medium in the ledger: x" in refused.err
