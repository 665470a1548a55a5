import json
from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.errors import (
    AirgapError,
    ExpiredError,
    FormatError,
    LedgerError,
    MediaError,
    SignatureMismatchError,
    UnknownKeyError,
)
from airgap.prove_receipt import prove_receipt
from airgap.review import records
from airgap.review.receipts import find_alarms, import_receipt
from airgap.review.records import Kept
from airgap.review.witness import check_witnessed
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot
from tests.support.bundles import DAY, RECEIVER, sign_root
from tests.unit.review.conftest import knows

OTHER = "sha256:" + "0" * 64


def take_in(answered, raw=None, now=None):
    raw = answered.receipt.read_bytes() if raw is None else raw
    return import_receipt(answered.sender, answered.receipt, raw, now or answered.gap.now + DAY)


def last(site):
    return json.loads(site.ledger_path.read_bytes().splitlines()[-1])


def test_a_receipt_is_kept_and_recorded(answered):
    done = take_in(answered)
    assert (done.fresh, done.alarms) == (True, ())
    assert done.kept.path.parent == answered.sender.home / "receipts" / RECEIVER
    assert done.kept.path.name.startswith("edge-0001-")
    assert done.kept.path.read_bytes() == answered.receipt.read_bytes()
    record = last(answered.sender)
    assert (record["event"], record["result"], record["exit_code"]) == ("receipt", "ok", 0)
    assert record["bundle"]["statement_sha256"] == answered.parsed.statement_sha256
    assert record["from_site"] == RECEIVER
    assert len(record["images"]) == 3


def test_the_same_receipt_again(answered):
    first = take_in(answered)
    again = take_in(answered)
    assert (again.fresh, again.alarms, again.kept.path) == (False, (), first.kept.path)
    assert len(answered.sender.kept_receipts()) == 1


def test_a_disk_that_fails_decides_nothing_about_a_receipt(answered, monkeypatch):
    """The sealed bundle that cannot be read now may be the one that it speaks of."""
    read = records.read_file

    def failing(path):
        if path.is_relative_to(answered.sender.home / "sent"):
            raise MediaError("cannot read", subject=path)
        return read(path)

    monkeypatch.setattr(records, "read_file", failing)
    with pytest.raises(MediaError, match=r"cannot read: .*\.dsse\.json"):
        take_in(answered)
    assert answered.sender.kept_receipts() == []
    monkeypatch.undo()
    assert take_in(answered).alarms == ()


def test_a_receipt_of_ones_own(answered):
    site = answered.gap.site
    own = (site.name, site.key.public_key)
    envelope = Envelope.parse(answered.receipt.read_bytes(), "x")
    root = site.root().root
    assert prove_receipt(envelope, root, answered.gap.now, "x", own) == answered.parsed
    with pytest.raises(UnknownKeyError):
        prove_receipt(envelope, root, answered.gap.now, "x")
    with pytest.raises(UnknownKeyError, match="another site's key"):
        prove_receipt(envelope, root, answered.gap.now, "x", ("elsewhere", site.key.public_key))


def test_a_site_that_the_root_does_not_know(answered):
    thief = SigningKey.generate()
    with pytest.raises(UnknownKeyError) as caught:
        take_in(answered, answered.signed(answered.parsed, thief))
    assert "add-site" in caught.value.hint
    assert last(answered.sender)["result"] == "refused"
    assert answered.sender.kept_receipts() == []


def test_one_site_cannot_speak_for_another(answered):
    """Each site's key signs what that site says; the sender's own is such a key too."""
    for key in (answered.sender.key, other := SigningKey.generate()):
        root = knows(answered.sender.root().root, ("plant-8", other))
        answered.sender.install_root(SignedRoot.parse(sign_root(root, answered.gap.key), "root"))
        with pytest.raises(UnknownKeyError, match="another site's key"):
            take_in(answered, answered.signed(answered.parsed, key))
    assert answered.sender.kept_receipts() == []


def test_a_key_that_signs_bundles_signs_no_receipts(answered):
    with pytest.raises(UnknownKeyError):
        take_in(answered, answered.signed(answered.parsed, answered.gap.key))


@pytest.mark.parametrize("at", [100, 500, 1500])
def test_a_changed_receipt(answered, at):
    raw = bytearray(answered.receipt.read_bytes())
    raw[at] = ord("A") if raw[at] != ord("A") else ord("B")
    with pytest.raises(AirgapError) as caught:
        take_in(answered, bytes(raw))
    assert isinstance(caught.value, FormatError | SignatureMismatchError)
    assert answered.sender.kept_receipts() == []


def test_what_is_no_receipt(answered):
    with pytest.raises(FormatError, match="not a receipt"):
        take_in(answered, sign_root(answered.sender.root().root, answered.gap.key))
    statement = answered.gap.envelope.payload
    signed = Envelope.sign("application/vnd.in-toto+json", statement, [answered.gap.site.key]).to_bytes()
    with pytest.raises(FormatError, match="unexpected value"):
        take_in(answered, signed)
    with pytest.raises(FormatError):
        take_in(answered, b"")
    assert ROOT_TYPE != "application/vnd.in-toto+json"


def test_a_root_that_has_expired(answered):
    with pytest.raises(ExpiredError):
        take_in(answered, now=answered.gap.now + 800 * DAY)


def test_no_ledger_no_receipt(answered):
    answered.sender.ledger_path.unlink()
    answered.sender.ledger_path.mkdir()
    with pytest.raises(LedgerError):
        take_in(answered)
    assert answered.sender.kept_receipts() == []


ODD = {
    "a statement that was never sealed": (
        lambda r: replace(r, statement_sha256="9" * 64), "no bundle edge-0001 with statement 999"
    ),
    "a serial that was never sealed": (lambda r: replace(r, serial=2), "no bundle edge-0002"),
    "a stream with a path in it": (lambda r: replace(r, bundle_stream="../../x"), "no bundle ../../x-0001"),
    "an image of no bundle": (
        lambda r: replace(r, images=(replace(r.images[0], digest=OTHER), *r.images[1:])),
        f"{OTHER} is not in edge-0001",
    ),
    "a load after the end": (lambda r: replace(r, time=r.time + 365 * DAY), "after it had expired"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "alarm"), ODD.values(), ids=ODD)
def test_what_is_odd_is_kept_and_told(answered, change, alarm):
    raw = answered.signed(change(answered.parsed))
    done = take_in(answered, raw)
    assert [text for text in done.alarms if alarm in text] == list(done.alarms) != []
    assert done.kept.path.read_bytes() == raw
    assert done.kept.path.parent == answered.sender.home / "receipts" / RECEIVER
    record = last(answered.sender)
    assert (record["result"], record["exit_code"], record["alarms"]) == ("alarm", 13, list(done.alarms))


def test_a_site_that_the_bundle_was_not_for(answered):
    key = SigningKey.generate()
    root = knows(answered.sender.root().root, ("plant-8", key))
    answered.sender.install_root(SignedRoot.parse(sign_root(root, answered.gap.key), "root"))
    point = {**answered.parsed.checkpoint, "origin": "plant-8"}
    told = replace(answered.parsed, site="plant-8", checkpoint=point)
    done = take_in(answered, answered.signed(told, key))
    assert done.alarms == ("edge-0001 was for plant-7, not for plant-8",)


def later(receipt, *, seconds=60, size=0, root="f" * 64):
    point = {"origin": receipt.site, "size": receipt.checkpoint["size"] + size, "root": root}
    return replace(receipt, time=receipt.time + timedelta(seconds=seconds), checkpoint=point)


def alarms(answered, receipt, *others):
    sealed = Kept.of(answered.sender).sealed[0]
    return list(find_alarms(receipt, sealed, others))


def test_a_ledger_that_grows_is_fine(answered):
    first = answered.parsed
    second = later(first, size=2)
    assert alarms(answered, second, first) == alarms(answered, first, second) == []


def test_a_fork_of_the_ledger(answered):
    first = answered.parsed
    [alarm] = alarms(answered, later(first), first)
    assert "the ledger of plant-7 was forked: it has two different states with" in alarm


def test_a_ledger_that_shrank(answered):
    first = answered.parsed
    for one, two in ((later(first, size=-2), first), (first, later(first, size=-2))):
        [alarm] = alarms(answered, one, two)
        assert "became shorter, or its clock was set back" in alarm


def test_ledgers_of_other_sites_are_not_compared(answered):
    first = answered.parsed
    assert alarms(answered, later(first), replace(first, site="plant-8")) == []


def test_a_site_that_speaks_of_anothers_ledger(answered):
    """It can neither accuse that one of a cut, nor hide a fork of its own."""
    first = answered.parsed
    other = later(replace(first, checkpoint={**first.checkpoint, "origin": "hq"}), size=10**6)
    other = replace(other, checkpoint={**other.checkpoint, "origin": "hq"})
    done = take_in(answered, answered.signed(other))
    assert done.alarms == ("plant-7 signed a checkpoint of the ledger of hq, not of its own",)
    assert check_witnessed(answered.sender, Kept.of(answered.sender))[1] == 1
    fork = later(first)
    renamed = replace(fork, checkpoint={**fork.checkpoint, "origin": "x"})
    assert any("was forked" in text for text in alarms(answered, renamed, first))
