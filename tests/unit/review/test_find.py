from dataclasses import replace

import pytest

from airgap.audit.report import entries
from airgap.review.find import BLOB, find, fits
from airgap.review.receipts import import_receipt
from airgap.review.records import Kept
from tests.support.bundles import DAY, ONE, RECEIVER, SENDER, small_images

IMAGE = small_images()[ONE]
LAYER = IMAGE.layers[0]
A = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("what", "texts", "fit"),
    [
        ("sha256:abab", (A,), True),
        ("abab", (A,), True),
        ("baba", (A,), False),  # in the middle: too many would fit
        ("sha256", (A,), True),
        ("acme/api", ("ghcr.io/acme/api:1",), True),
        (":1", ("ghcr.io/acme/api:1", A), True),
        ("none", ("ghcr.io/acme/api:1", None, 7), False),
        ("None", (None,), False),
    ],
)
def test_what_fits(what, texts, fit):
    assert fits(what, *texts) is fit


def lines(site, name, what):
    found = find(site.ledger_path, name, Kept.of(site), what)
    return [(f.site, f.event, f.result, f.bundle, f.reference, f.where) for f in found]


def test_an_image_at_both_sides(answered):
    gap = answered.gap
    out = f"oci:{gap.folder}"
    for what in (ONE, str(IMAGE.descriptor.digest), IMAGE.descriptor.digest.hex[:12]):
        [(site, event, result, bundle, reference, where)] = lines(gap.site, RECEIVER, what)
        assert (site, event, result, bundle, reference) == (RECEIVER, "load", "loaded", "edge-0001", ONE)
        assert where.startswith("oci:")
        assert [line[:4] for line in lines(answered.sender, SENDER, what)] == [
            (SENDER, "pack", "ok", "edge-0001")
        ]
    assert out


def test_what_came_back_tells_where_it_is(answered):
    import_receipt(answered.sender, answered.receipt, answered.receipt.read_bytes(), answered.gap.now + DAY)
    found = lines(answered.sender, SENDER, ONE)
    assert {line[:3] for line in found} == {
        (SENDER, "pack", "ok"), (RECEIVER, "load", "loaded"), (SENDER, "receipt", "ok"),
    }  # fmt: skip


def test_a_layer(answered):
    [line] = lines(answered.sender, SENDER, str(LAYER))
    assert line == (SENDER, "pack", "sealed", "edge-0001", BLOB, "")
    [line] = lines(answered.gap.site, RECEIVER, LAYER.hex[:16])
    assert line[:5] == (RECEIVER, "load", "held", "edge-0001", BLOB)


def test_nothing(answered):
    assert lines(answered.sender, SENDER, "nobody/knows") == []
    assert lines(answered.sender, SENDER, "statement") == []


def test_an_old_digest_is_found_by_what_took_its_place(answered):
    kept = Kept.of(answered.gap.site)
    [receipt] = kept.receipts
    images = (replace(receipt.receipt.images[0], before=A), *receipt.receipt.images[1:])
    other = replace(receipt, receipt=replace(receipt.receipt, site="elsewhere", images=images))
    found = find(answered.gap.site.ledger_path, RECEIVER, Kept((), (other,)), A)
    assert [(f.site, f.reference) for f in found] == [("elsewhere", images[0].reference)]


def test_what_is_not_an_image(answered):
    """A bundle, a site, a person, a host or a target gives each entry once, with the number of its images."""
    gap = answered.gap
    [record] = entries(answered.sender.ledger_path, event="pack")
    for what in ("edge-0001", "EDGE-0001", RECEIVER, record.user, record.host, record.place):
        found = lines(answered.sender, SENDER, what)
        assert (SENDER, "pack", "ok", "edge-0001", "3 images", record.place) in found, what
    [load] = lines(gap.site, RECEIVER, "alice")  # who signed it
    assert load[:5] == (RECEIVER, "load", "ok", "edge-0001", "3 images")
    assert lines(answered.sender, SENDER, "edge-0002") == []


def test_a_ticket_gives_the_bundle_and_where_it_went(answered):
    kept = Kept.of(answered.sender)
    [sealed] = kept.sealed
    [load] = Kept.of(answered.gap.site).receipts
    stated = replace(sealed, statement=replace(sealed.statement, transfer={"ticket": "CHG-7"}))
    found = find(answered.sender.ledger_path, SENDER, Kept((stated,), (load,), {}, kept.roots), "chg-7")
    assert ("pack", SENDER, "3 images") in {(match.event, match.site, match.reference) for match in found}
    assert {match.site for match in found if match.event == "load"} == {RECEIVER}
    assert find(answered.sender.ledger_path, SENDER, kept, "chg-7") == []


def test_a_person_and_a_target_at_another_site(answered):
    [load] = Kept.of(answered.gap.site).receipts
    kept = Kept((), (replace(load, receipt=replace(load.receipt, operator="dave", site="plant-9")),))
    for what in ("dave", "plant-9", "oci:"):
        found = find(answered.sender.ledger_path, SENDER, kept, what)
        assert {match.reference for match in found} == {image.reference for image in load.receipt.images}, (
            what
        )
