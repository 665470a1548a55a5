"""The checkpoint that a command signs, with and without a summary of the ledger."""

import json
from pathlib import Path

import pytest

from airgap import ledger_summary
from airgap.audit.chain import check_ledger, checkpoint
from airgap.audit.facts import LedgerFacts, read_facts
from airgap.errors import FormatError, LedgerError
from airgap.ledger_summary import SUMMARY, current_checkpoint, read_summary, write_summary
from airgap.oci.strict_json import dump
from airgap.site import Site, now
from airgap.site_check import check_site
from airgap.trust.envelope import Envelope
from airgap.trust.keys import SigningKey


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site.create(tmp_path / "home", "plant-7")
    for number in range(5):
        site.ledger().append("verify", "note", number=number)
    return site


def summarise(site: Site) -> LedgerFacts:
    facts = read_facts(site.ledger_path)
    write_summary(site.home, facts)
    return facts


def test_the_checkpoint_is_that_of_the_whole_chain(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    summarise(site)
    for number in range(3):
        site.ledger().append("verify", "note", more=number)
        whole = checkpoint(check_ledger(site.ledger_path))
        with monkeypatch.context() as patch:
            patch.setattr(ledger_summary, "check_ledger", None)  # the chain is not read again
            assert current_checkpoint(site.home, site.ledger_path) == whole


def test_the_checkpoint_has_a_line_as_it_was_when_it_was_read(site: Site) -> None:
    summarise(site)
    before = current_checkpoint(site.home, site.ledger_path)
    site.ledger_path.write_bytes(site.ledger_path.read_bytes().replace(b'"number":1', b'"number":7'))
    assert current_checkpoint(site.home, site.ledger_path) == before
    with pytest.raises(LedgerError, match="broken chain"):
        check_ledger(site.ledger_path)


@pytest.mark.parametrize("lines", [4, 0])
def test_a_cut_ledger_has_no_checkpoint(site: Site, lines: int) -> None:
    summarise(site)
    kept = site.ledger_path.read_bytes().splitlines(keepends=True)[:lines]
    site.ledger_path.write_bytes(b"".join(kept))
    with pytest.raises(LedgerError, match="the ledger was cut or replaced"):
        current_checkpoint(site.home, site.ledger_path)


def test_after_a_summary_of_an_older_version_the_whole_chain_is_checked(site: Site) -> None:
    facts = summarise(site)
    facts.tree = None
    write_summary(site.home, facts)
    summary = read_summary(site.home)
    assert summary is not None
    assert summary.tree is None
    assert current_checkpoint(site.home, site.ledger_path) == checkpoint(check_ledger(site.ledger_path))


@pytest.mark.parametrize("recording", [False, True])
def test_a_command_that_may_write_replaces_a_summary_of_an_older_version(
    site: Site, *, recording: bool
) -> None:
    facts = summarise(site)
    facts.tree = None
    write_summary(site.home, facts)
    check_site(site.home, now(), recording=recording)
    summary = read_summary(site.home)
    assert summary is not None
    assert (summary.tree is not None) is recording


def test_a_summary_that_another_key_signed_does_not_count(site: Site) -> None:
    lie = read_facts(site.ledger_path)
    assert lie.tree is not None
    lie.tree.add(b"a line that is not there")
    raw = Envelope.sign(ledger_summary._TYPE, lie.to_bytes(), [SigningKey.generate()]).to_bytes()
    (site.home / SUMMARY).write_bytes(raw)
    (site.home / SUMMARY).chmod(0o600)
    assert read_summary(site.home) is None
    assert current_checkpoint(site.home, site.ledger_path) == checkpoint(check_ledger(site.ledger_path))


@pytest.mark.parametrize(
    "peaks",
    [[], ["0" * 64], ["0" * 64] * 3, ["0" * 63] * 2, ["g" * 64] * 2, [1, 2], "0" * 64],
    ids=["none", "too few", "too many", "too short", "not hex", "numbers", "a text"],
)
def test_peaks_that_no_tree_of_five_lines_has(site: Site, peaks: object) -> None:
    fields = json.loads(read_facts(site.ledger_path).to_bytes()) | {"peaks": peaks}
    with pytest.raises(FormatError, match="peaks"):
        LedgerFacts.parse(dump(fields))
