import os

import pytest

from airgap.errors import AirgapError, FormatError
from airgap.review.records import Kept, KeptReceipt, Sealed, read_file
from tests.support.bundles import RECEIVER


def test_what_both_sides_keep(answered):
    sent, received = Kept.of(answered.sender), Kept.of(answered.gap.site)
    [sealed] = sent.sealed
    assert (sealed.statement.title, sealed.statement_sha256) == (
        "edge-0001",
        answered.parsed.statement_sha256,
    )
    assert (sent.receipts, received.sealed, sent.unreadable, received.unreadable) == ((), (), {}, {})
    [kept] = received.receipts
    assert (kept.receipt, kept.title) == (answered.parsed, "edge-0001")


def test_a_new_site_keeps_nothing(answered):
    site = answered.gap.site
    for path in site.kept_receipts():
        path.unlink()
    assert Kept.of(site) == Kept((), ())


def test_what_cannot_be_read_hides_nothing_else(answered):
    site = answered.sender
    good = site.kept_envelopes()[0]
    broken = good.with_name("0002.dsse.json")
    broken.write_bytes(good.read_bytes()[:-9])
    other = site.home / "receipts" / RECEIVER / "x.receipt.json"
    other.parent.mkdir(parents=True)
    other.symlink_to(answered.receipt)
    kept = Kept.of(site)
    assert [each.path for each in kept.sealed] == [good]
    assert kept.receipts == ()
    assert set(kept.unreadable) == {broken, other}
    assert all(isinstance(error, AirgapError) for error in kept.unreadable.values())


def test_a_bundle_is_found_by_its_statement_only(answered):
    kept = Kept.of(answered.sender)
    sha256 = kept.sealed[0].statement_sha256
    assert kept.find("edge", 1, sha256) is kept.sealed[0]
    assert kept.find("edge", 1, "0" * 64) is kept.find("edge", 2, sha256) is kept.find("x", 1, sha256) is None


def test_one_kind_is_not_the_other(answered):
    with pytest.raises(FormatError):
        Sealed.read(answered.receipt)
    with pytest.raises(FormatError):
        KeptReceipt.read(answered.sender.kept_envelopes()[0])


def test_a_file_from_anywhere_is_read_carefully(tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert read_file(tmp_path / "real") == b"x"
    for name in ("link", "pipe", "huge", "none", "."):
        with pytest.raises(AirgapError):
            read_file(tmp_path / name)
