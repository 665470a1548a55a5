"""A site signs a receipt that is not true: it is kept, told item by item, and confirms nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.agreement import Evidence
from airgap.audit.receipt import PrunedName, StepBack, Verdict
from airgap.errors import TrustError, UnknownKeyError
from airgap.limits import MAX_RECEIPT_ALARMS
from airgap.online.delta_base import read_bases
from airgap.progress import Silent
from airgap.review.page.render import render
from airgap.review.receipts import import_receipt
from airgap.review.records import Kept
from airgap.review.report import make_report
from airgap.trust.keys import SigningKey
from airgap.trust.root import RootKey, SignedRoot
from tests.support.bundles import DAY, RECEIVER, sign_root
from tests.unit.review.conftest import knows

OTHER = "sha256:" + "0" * 64


def with_image(receipt, at=0, **changes):
    images = list(receipt.images)
    images[at] = replace(images[at], **changes)
    return replace(receipt, images=tuple(images))


def swap_names(receipt):
    first, second, *rest = receipt.images
    swapped = (
        replace(first, reference=second.reference),
        replace(second, reference=first.reference),
    )
    return replace(receipt, images=(*swapped, *rest))


def failed(receipt, at=0, **changes):
    return with_image(receipt, at, verdict="failed", error="no space", target_digest=None, **changes)


LIES = {
    "an image left out": (
        lambda r: replace(r, images=r.images[1:]), "it does not mention registry.test/one:1"
    ),
    "all images left out": (lambda r: replace(r, images=()), "it does not mention"),
    "an image of no bundle": (lambda r: with_image(r, digest=OTHER), "is not in edge-0001"),
    "an image more": (
        lambda r: replace(r, images=(*r.images, replace(r.images[0], reference="registry.test/more:1"))),
        "registry.test/more:1 is not sha256:",
    ),
    "an image twice": (lambda r: replace(r, images=(*r.images, r.images[0])), "is listed twice"),
    "two names exchanged": (swap_names, " in edge-0001"),
    "another tag": (
        lambda r: with_image(r, reference="registry.test/one:2"), "registry.test/one:2 is not sha256:"
    ),
    "another digest at the target": (lambda r: with_image(r, target_digest=OTHER), f"is {OTHER} at the target"),
    "no digest at the target": (lambda r: with_image(r, target_digest=None), "has no digest at the target"),
    "a step back from an older one": (
        lambda r: replace(r, step_back=StepBack("x", r.epoch, r.serial - 1, "0" * 64)), "which is not newer"
    ),
    "a step back from another bundle of this serial": (
        lambda r: replace(r, step_back=StepBack("x", r.epoch, r.serial, "0" * 64)), "which is not newer"
    ),
    "a pruned name that is loaded too": (
        lambda r: replace(r, pruned=(PrunedName(r.images[0].reference, OTHER),)), "is listed twice"
    ),
    "a pruned name after a failure": (
        lambda r: replace(with_image(r, verdict=Verdict.FAILED, target_digest=None),
                          result="failed", pruned=(PrunedName("a.example/b:1", OTHER),)),
        "it removed 1 names",
    ),
    "content under another digest": (
        lambda r: with_image(r, reference=f"registry.test/one@{OTHER}"), f"registry.test/one@{OTHER} is not sha256:"
    ),
    "failed inside ok": (failed, "its result is ok, but its images make it partial"),
    "refused inside ok": (lambda r: with_image(r, verdict="refused"), "its images make it partial"),
    "loaded inside failed": (lambda r: replace(r, result="failed"), "its result is failed"),
    "loaded, with an error": (lambda r: with_image(r, error="no space"), "has an error: no space"),
    "an image skipped": (
        lambda r: with_image(r, verdict="skipped", target_digest=None, reason="x"), "was skipped, but is an image"
    ),
    "blobs of an image that failed": (
        lambda r: replace(failed(r), result="partial"), "blobs of images that are not there"
    ),
    "blobs that were never sent": (
        lambda r: replace(r, holds=(*r.holds, OTHER)), f"1 blobs that are not in edge-0001: {OTHER}"
    ),
    "a blob twice": (lambda r: replace(r, keyids=r.keyids * 2), "is listed twice"),
    "a key that is in no root": (lambda r: replace(r, keyids=("0" * 64,)), "unknown key 0000000000000000 is listed"),
    "a key more": (lambda r: replace(r, keyids=(*r.keyids, "f" * 64)), "may not sign bundles"),
    "no keys": (lambda r: replace(r, keyids=()), "0 keys cannot meet a threshold of 1"),
    "a signer left out": (lambda r: replace(r, keyids=()), "has signed edge-0001, but is not listed"),
    "another threshold": (lambda r: replace(r, threshold=0), "the threshold of trust root 1 is 1, not 0"),
    "a newer root": (lambda r: replace(r, root_version=99), "trust root 99; the newest here is 2"),
    "an older root": (lambda r: replace(r, root_version=0), "needs 1 or a later one"),
    "another epoch": (lambda r: replace(r, epoch=2), "edge-0001 is of epoch 1, not 2"),
    "a time before the bundle": (
        lambda r: replace(r, time=r.time - timedelta(hours=2)), "before edge-0001 was sealed"
    ),
    "a time to come": (
        lambda r: replace(r, time=r.time + timedelta(hours=26)), "is in the future"
    ),
    "a time after its end": (lambda r: replace(r, time=r.time + 365 * DAY), "after it had expired"),
    "another statement": (lambda r: replace(r, statement_sha256="9" * 64), "was sealed here"),
    "another serial": (lambda r: replace(r, serial=2), "no bundle edge-0002"),
}  # fmt: skip


@pytest.fixture(params=LIES.values(), ids=LIES)
def lie(request, answered):
    """The bytes of the lie, and what is to be told of it."""
    change, alarm = request.param
    return answered.signed(change(answered.parsed)), alarm


def test_a_lie_is_evidence_and_confirms_nothing(answered, lie):
    raw, alarm = lie
    now = answered.gap.now + DAY
    done = import_receipt(answered.sender, answered.receipt, raw, now)
    assert any(alarm in text for text in done.alarms), done.alarms
    assert done.kept.path.read_bytes() == raw
    made = make_report(answered.sender, now)
    [transfer] = made.review.transfers
    assert (transfer.state, transfer.missing) != ("received", ())
    assert any(f"{RECEIVER}: " in text and alarm in text for text in made.review.alarms)
    assert alarm.partition(":")[0] in render(made)


def test_a_lie_is_no_base(answered, lie):
    raw, _ = lie
    answered.receipt.write_bytes(raw)
    with pytest.raises(TrustError, match="does not agree"):
        read_bases(answered.sender, "edge", [str(answered.receipt)], answered.gap.now + DAY, Silent())


def test_the_truth_is_no_lie(answered):
    done = import_receipt(
        answered.sender, answered.receipt, answered.receipt.read_bytes(), answered.gap.now + DAY
    )
    assert (done.alarms, done.unconfirmed) == ((), ())
    [transfer] = make_report(answered.sender, answered.gap.now + DAY).review.transfers
    assert (transfer.state, transfer.disputed) == ("received", frozenset())
    held = read_bases(answered.sender, "edge", [str(answered.receipt)], answered.gap.now + DAY, Silent())
    assert {str(digest) for digest in held.held} == set(answered.parsed.holds)


def test_a_lie_beside_the_truth(answered):
    now = answered.gap.now + DAY
    lie = answered.signed(failed(answered.parsed))
    for raw in (lie, answered.receipt.read_bytes()):
        import_receipt(answered.sender, answered.receipt, raw, now)
    made = make_report(answered.sender, now)
    [transfer] = made.review.transfers
    assert (transfer.state, len(transfer.receipts), len(transfer.disputed)) == ("received", 2, 1)
    assert "but it disagrees with the bundle" in render(made)


UNCONFIRMED = {
    "renamed by --map": (
        lambda r: with_image(r, reference="harbor.test:5000/mirror/one:1"),
        "registry.test/one:1 is named harbor.test:5000/mirror/one:1 there",
    ),
    "in another form": (
        lambda r: with_image(r, target_digest=OTHER, reason="takes no index without all of its platforms"),
        f"registry.test/one:1 is {OTHER} there: takes no index without all of its platforms",
    ),
    "a clock that is behind": (
        lambda r: replace(r, time=r.time - timedelta(minutes=50)), "its time is before the bundle was sealed"
    ),
    "a clock that is ahead": (
        lambda r: replace(r, time=r.time + DAY + timedelta(minutes=50)), "its time is in the future"
    ),
    "archives that are said to be a base": (
        lambda r: replace(r, images=tuple(replace(i, verdict="placed") for i in r.images)), "so it cannot be a base"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "line"), UNCONFIRMED.values(), ids=UNCONFIRMED)
def test_facts_that_cannot_be_compared_are_reported_without_an_alarm(answered, change, line):
    raw = answered.signed(change(answered.parsed))
    done = import_receipt(answered.sender, answered.receipt, raw, answered.gap.now + DAY)
    assert done.alarms == ()
    assert [line in text for text in done.unconfirmed] == [True]
    [transfer] = make_report(answered.sender, answered.gap.now + DAY).review.transfers
    assert transfer.state == "received"


def test_what_an_engine_calls_an_image(answered):
    """By the config or the manifest of the platform that it took."""
    images = Kept.of(answered.sender).sealed[0].statement.images
    at = next(at for at, image in enumerate(images) if len(image.platforms) > 1)
    assert answered.parsed.images[at].digest == str(images[at].digest)
    for digest in (each for record in images[at].platforms for each in (record.digest, record.config_digest)):
        told = answered.signed(with_image(answered.parsed, at, target_digest=str(digest)))
        done = import_receipt(answered.sender, answered.receipt, told, answered.gap.now + DAY)
        assert not [text for text in done.alarms if "at the target" in text]


def second_signer(answered, *, revoked=False):
    """A root in which bob may sign bundles too."""
    bob = SigningKey.generate("ecdsa-p256")
    root = knows(answered.sender.root().root)
    keyid = bob.public_key.keyid
    release = replace(root.roles["release"], keyids=root.roles["release"].keyids | {keyid})
    keys = {**root.keys, keyid: RootKey(bob.public_key, "bob")}
    root = replace(root, keys=keys, roles={**root.roles, "release": release})
    answered.sender.install_root(SignedRoot.parse(sign_root(root, answered.gap.key), "root"))
    return keyid, root.version


def test_a_signature_that_was_added_elsewhere(answered):
    keyid, version = second_signer(answered)
    told = replace(answered.parsed, root_version=version, keyids=(*answered.parsed.keyids, keyid))
    done = import_receipt(answered.sender, answered.receipt, answered.signed(told), answered.gap.now + DAY)
    assert done.alarms == ()
    assert done.unconfirmed == (f"bob {keyid[:16]} had not signed at sealing; it may have signed later",)


def test_only_a_key_that_did_not_sign(answered):
    keyid, version = second_signer(answered)
    told = replace(answered.parsed, root_version=version, keyids=(keyid,))
    done = import_receipt(answered.sender, answered.receipt, answered.signed(told), answered.gap.now + DAY)
    alice = answered.parsed.keyids[0][:16]
    assert done.alarms == (f"alice {alice} has signed edge-0001, but is not listed",)


def test_a_stranger_beside_a_site_of_nearly_its_name(answered):
    """The root may know Plant-7 where the bundle is for plant-7."""
    key = SigningKey.generate("ecdsa-p256")
    root = answered.sender.root().root
    less = replace(root, sites={name: site for name, site in root.sites.items() if name != RECEIVER})
    root = knows(less, ("Plant-7", key))
    answered.sender.install_root(SignedRoot.parse(sign_root(root, answered.gap.key), "root"))
    point = {**answered.parsed.checkpoint, "origin": "Plant-7"}
    told = replace(answered.parsed, site="Plant-7", checkpoint=point)
    done = import_receipt(
        answered.sender, answered.receipt, answered.signed(told, key), answered.gap.now + DAY
    )
    assert "Plant-7 is not plant-7, but the names look alike" in done.alarms
    [transfer] = make_report(answered.sender, answered.gap.now + DAY).review.transfers
    assert transfer.missing == (RECEIVER,)


def test_a_very_long_lie(answered):
    images = tuple(
        replace(answered.parsed.images[0], reference=f"registry.test/more:{number}") for number in range(500)
    )
    told = replace(answered.parsed, images=images)
    done = import_receipt(answered.sender, answered.receipt, answered.signed(told), answered.gap.now + DAY)
    assert len(done.alarms) == MAX_RECEIPT_ALARMS + 1
    assert done.alarms[-1].startswith("and ")


def test_verdicts_are_all_known():
    """What is written in a new version must be judged here too."""
    assert set(Verdict) == {"loaded", "already there", "placed", "skipped", "failed", "refused"}


def test_evidence_is_signed(answered):
    path = answered.sender.kept_envelopes()[0]
    roots = answered.sender.root_versions()
    assert Evidence.parse(path.read_bytes(), "x", roots).statement.title == "edge-0001"
    payload = answered.gap.envelope.payload
    forged = answered.gap.envelope.sign("application/vnd.in-toto+json", payload, [SigningKey.generate()])
    with pytest.raises(UnknownKeyError, match="ignored"):
        Evidence.parse(forged.to_bytes(), "x", roots)
