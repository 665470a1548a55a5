"""Which site signed a receipt: never the one that it names, unless that site's key did."""

from dataclasses import replace

import pytest

from airgap.errors import AirgapError, FormatError, UnknownKeyError
from airgap.prove_receipt import prove_again, prove_receipt
from airgap.trust.document import ReceivingSite, RootKey
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope
from tests.unit.audit.test_receipt import RECEIPT
from tests.unit.trust.support import NOW, key, keyid, make_root, role

BASE = make_root("alice", sites={RECEIPT.site: ReceivingSite(frozenset({keyid("site")}))})
ROOT = replace(
    BASE,
    keys={**BASE.keys, keyid("eight"): RootKey(key("eight").public_key, "plant-8")},
    roles={**BASE.roles, "receipt": role("site", "eight")},
    sites={**BASE.sites, "plant-8": ReceivingSite(frozenset({keyid("eight")}))},
)
OWN = (RECEIPT.site, key("own").public_key)
"""This site is the one that the receipt names, and the root does not have its key yet."""
HQ = ("hq", key("own").public_key)


def signed(signer: str, receipt=RECEIPT, kind: str = STATEMENT_TYPE) -> Envelope:
    return Envelope.sign(kind, receipt.to_bytes(), [key(signer)])


@pytest.mark.parametrize(("signer", "own"), [("site", None), ("site", HQ), ("site", OWN), ("own", OWN)])
def test_the_site_itself(signer, own):
    assert prove_receipt(signed(signer), ROOT, NOW, "r", own) == RECEIPT
    assert prove_again(signed(signer), {1: ROOT}, "r", own) == RECEIPT


FOREIGN = {
    "a stranger": ("mallory", None, "not signed by a key that has the role receipt"),
    "a stranger in the name of this site": ("mallory", OWN, "not signed by a key that has the role receipt"),
    "a person": ("alice", None, "not signed by a key that has the role receipt"),
    "another site": ("eight", None, "signed by another site's key: .*, got plant-8"),
    "another site in the name of this one": ("eight", OWN, "signed by another site's key: .*, got plant-8"),
    "this site in the name of another": ("own", HQ, "signed by another site's key: .*, got hq"),
}


@pytest.mark.parametrize(("signer", "own", "words"), FOREIGN.values(), ids=FOREIGN)
def test_somebody_else(signer, own, words):
    with pytest.raises(UnknownKeyError, match=words):
        prove_receipt(signed(signer), ROOT, NOW, "r", own)
    with pytest.raises(UnknownKeyError, match="its site did not sign it"):
        prove_again(signed(signer), {1: ROOT}, "r", own)


def test_a_root_from_before_the_site_was_added():
    assert prove_again(signed("site"), {1: replace(ROOT, sites={}), 2: ROOT}, "r", None) == RECEIPT
    with pytest.raises(UnknownKeyError) as caught:
        prove_receipt(signed("mallory"), ROOT, NOW, "r")
    assert "airgap trust add-site" in (caught.value.hint or "")


def test_another_payload_type():
    for prove in (
        lambda envelope: prove_receipt(envelope, ROOT, NOW, "r"),
        lambda envelope: prove_again(envelope, {1: ROOT}, "r", None),
    ):
        with pytest.raises(FormatError, match="not a receipt: r, want application"):
            prove(signed("site", kind=ROOT_TYPE))


def test_nothing_is_parsed_before_a_signature_was_verified():
    envelope = Envelope.sign(STATEMENT_TYPE, b"not a receipt", [key("mallory")])
    with pytest.raises(AirgapError, match="not signed by a key"):
        prove_receipt(envelope, ROOT, NOW, "r", OWN)
