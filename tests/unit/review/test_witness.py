import shutil
from dataclasses import replace

import pytest

from airgap.audit.record import NOTE
from airgap.errors import AirgapError, LedgerError
from airgap.review.records import Kept
from airgap.review.witness import check_witnessed


def cut(path, lines):
    """Remove lines at the end: the chain of what is left holds."""
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:lines]))


def test_a_ledger_grows_out_of_what_was_signed(answered):
    site = answered.gap.site
    state, witnesses = check_witnessed(site, Kept.of(site))
    assert (witnesses, state.size) == (1, len(site.ledger_path.read_bytes().splitlines()))
    site.ledger().append("note", NOTE)
    state, witnesses = check_witnessed(site, Kept.of(site), [answered.receipt])
    assert witnesses == 2


def test_the_sender_is_witnessed_by_its_bundles(answered):
    gap = answered.gap
    for file in (gap.bundle, gap.bundle / "bundle.dsse.json"):
        _, witnesses = check_witnessed(answered.sender, Kept.of(answered.sender), [file])
        assert witnesses == 2


def test_lines_that_were_cut_off(answered):
    site = answered.gap.site
    size = answered.parsed.checkpoint["size"]
    cut(site.ledger_path, size - 1)
    with pytest.raises(LedgerError, match="the ledger was cut") as caught:
        check_witnessed(site, Kept.of(site))
    assert f"want {size} lines or more" in str(caught.value)


def test_who_cuts_removes_the_receipts_too_but_not_those_elsewhere(answered):
    site = answered.gap.site
    cut(site.ledger_path, 1)
    shutil.rmtree(site.home / "receipts")
    assert check_witnessed(site, Kept.of(site))[1] == 0
    with pytest.raises(LedgerError, match="the ledger was cut"):
        check_witnessed(site, Kept.of(site), [answered.receipt])


def test_a_ledger_that_was_written_anew(answered):
    site = answered.gap.site
    site.ledger_path.unlink()
    for _ in range(answered.parsed.checkpoint["size"] + 1):
        site.ledger().append("note", NOTE)
    with pytest.raises(LedgerError, match="disagrees with a signed checkpoint"):
        check_witnessed(site, Kept.of(site), [answered.receipt])


def test_a_broken_chain_is_reported_first(answered):
    site = answered.gap.site
    raw = site.ledger_path.read_bytes()
    site.ledger_path.write_bytes(raw.replace(b'"user":"', b'"user":"x', 1))
    with pytest.raises(LedgerError, match="broken chain"):
        check_witnessed(site, Kept.of(site))


def test_states_of_other_ledgers_say_nothing(answered):
    _, witnesses = check_witnessed(answered.gap.site, Kept.of(answered.gap.site), [answered.gap.bundle])
    assert witnesses == 1
    answered.gap.restate(sender=None)
    _, witnesses = check_witnessed(answered.sender, Kept.of(answered.sender), [answered.gap.bundle])
    assert witnesses == 1


def test_an_empty_ledger_is_a_state_too(answered):
    receipt = answered.parsed
    point = {"origin": receipt.site, "size": 0, "root": "0" * 64}
    answered.receipt.write_bytes(answered.signed(replace(receipt, checkpoint=point)))
    with pytest.raises(LedgerError, match="disagrees with a signed checkpoint"):
        check_witnessed(answered.gap.site, Kept.of(answered.gap.site), [answered.receipt])


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_witness(answered, raw):
    answered.receipt.write_bytes(raw)
    with pytest.raises(AirgapError):
        check_witnessed(answered.gap.site, Kept.of(answered.gap.site), [answered.receipt])
    answered.receipt.unlink()
    with pytest.raises(AirgapError):
        check_witnessed(answered.gap.site, Kept.of(answered.gap.site), [answered.receipt])
