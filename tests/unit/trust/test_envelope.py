import base64
import json
import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError, SignatureMismatchError, TrustError, UnsignedError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.trust.envelope import STATEMENT_TYPE, Envelope, Signature, pae
from airgap.trust.policy import check_signatures
from tests.unit.trust.support import NOW, PAYLOAD, key, keyid, make_root, signed


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# -- pre-authentication encoding -------------------------------------------------------------------


def test_pae_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes():
    assert pae("t", "é".encode()) == b"DSSEv1 1 t 2 \xc3\xa9"


@given(st.binary(), st.binary())
def test_pae_keeps_payloads_apart(one, other):
    assert (pae("t", one) == pae("t", other)) == (one == other)


BAD_TYPES = ["", "é", "a b", "a\n", "a\0", "x" * 257, "\u202e", "\x7f"]


def test_a_payload_type_has_at_most_256_characters():
    assert pae("x" * 256, b"").startswith(b"DSSEv1 256 ")


@pytest.mark.parametrize("payload_type", BAD_TYPES)
def test_pae_refuses(payload_type):
    with pytest.raises(FormatError, match="not a payload type"):
        pae(payload_type, b"")


# -- outside judges --------------------------------------------------------------------------------

RECIPE = """{ printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(stat -c %s statement.json)"; cat statement.json; } | """


def _for_stock_tools(folder, name, algorithm):
    envelope = Envelope.sign(STATEMENT_TYPE, PAYLOAD, [key(name, algorithm)])
    (folder / "statement.json").write_bytes(envelope.payload)
    (folder / "alice.pub").write_text(key(name, algorithm).public_key.pem)
    (folder / "alice.sig").write_bytes(envelope.signatures[0].sig)


def _shell(folder, command):
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("algorithm", "digest"), [("ecdsa-p256", "sha256"), ("ecdsa-p384", "sha384")])
def test_openssl_verifies_by_the_recipe_of_the_design(algorithm, digest, tmp_path):
    _for_stock_tools(tmp_path, "alice", algorithm)
    command = RECIPE + f"openssl dgst -{digest} -verify alice.pub -signature alice.sig"
    judged = _shell(tmp_path, command)
    assert (judged.returncode, judged.stdout) == (0, "Verified OK\n")
    (tmp_path / "statement.json").write_bytes(PAYLOAD.replace(b"v1", b"v2"))
    assert _shell(tmp_path, command).returncode != 0


def test_openssl_verifies_ed25519(tmp_path):
    _for_stock_tools(tmp_path, "alice", "ed25519")
    command = (
        RECIPE
        + "cat > pae; openssl pkeyutl -verify -rawin -pubin -inkey alice.pub -in pae -sigfile alice.sig"
    )
    assert _shell(tmp_path, command).returncode == 0
    (tmp_path / "statement.json").write_bytes(PAYLOAD.replace(b"v1", b"v2"))
    assert _shell(tmp_path, command).returncode != 0


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ed25519"])
def test_we_verify_what_openssl_signs(algorithm, tmp_path):
    signer = key("alice", algorithm)
    signer.save(tmp_path / "key", None)
    (tmp_path / "pae").write_bytes(pae(STATEMENT_TYPE, PAYLOAD))
    command = (
        "openssl dgst -sha256 -sign key -out sig pae"
        if algorithm == "ecdsa-p256"
        else "openssl pkeyutl -sign -rawin -inkey key -in pae -out sig"
    )
    assert _shell(tmp_path, command).returncode == 0
    assert signer.public_key.verify(pae(STATEMENT_TYPE, PAYLOAD), (tmp_path / "sig").read_bytes())


# -- signing ---------------------------------------------------------------------------------------


def test_round_trip():
    envelope = signed("alice", "bob")
    raw = envelope.to_bytes()
    assert Envelope.parse(raw, "e") == envelope
    assert Envelope.parse(raw, "e").to_bytes() == raw
    assert raw.endswith(b"}\n")
    assert [each.keyid for each in envelope.signatures] == [keyid("alice"), keyid("bob")]
    assert envelope.raw_signatures == {each.keyid: each.sig for each in envelope.signatures}


def test_reads_envelopes_of_other_tools():
    body = {
        "signatures": [{"sig": b64(b"s")}, {"keyid": None, "sig": b64(b"t")}],
        "payloadType": "t",
        "payload": b64(b"p"),
    }
    found = Envelope.parse(json.dumps(body, indent=2).encode(), "e", foreign=True)
    assert found == Envelope("t", b"p", (Signature("", b"s"), Signature("", b"t")))


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40),
    st.binary(max_size=200),
    st.lists(
        st.builds(Signature, st.text(max_size=20), st.binary(max_size=80)),
        min_size=1,
        max_size=5,
        unique_by=(lambda s: s.keyid, lambda s: s.sig),
    ),
)
def test_round_trip_of_any_envelope(payload_type, payload, signatures):
    envelope = Envelope(payload_type, payload, tuple(signatures))
    assert Envelope.parse(envelope.to_bytes(), "e") == envelope


def test_a_further_signature():
    assert signed("alice").with_signature(key("bob")) == signed("alice", "bob")


def test_it_is_signed_by_the_keys_that_it_names_and_whose_signatures_match():
    alice, bob = (key(name).public_key for name in ("alice", "bob"))
    assert signed("alice", "bob").is_signed_by(bob)
    assert not signed("alice").is_signed_by(bob)
    (signature,) = signed("alice").signatures
    renamed = replace(signature, keyid=bob.keyid)
    assert not any(Envelope(STATEMENT_TYPE, PAYLOAD, (renamed,)).is_signed_by(each) for each in (alice, bob))


def test_one_key_signs_once():
    with pytest.raises(TrustError, match="already signed by this key"):
        signed("alice").with_signature(key("alice"))
    with pytest.raises(TrustError, match="already signed by this key"):
        signed("alice", "bob", "alice")


def test_one_key_signs_once_whatever_the_key_id_says():
    anonymous = Envelope(STATEMENT_TYPE, PAYLOAD, (Signature("", signed("alice").signatures[0].sig),))
    with pytest.raises(TrustError, match="already signed by this key"):
        anonymous.with_signature(key("alice"))


def test_no_signer():
    with pytest.raises(UnsignedError, match="no signer"):
        signed()


class Confused:
    """A signer whose answer is by another key."""

    public_key = key("alice").public_key

    def sign(self, message):
        return key("bob").sign(message)


def test_a_wrong_answer_is_not_kept():
    with pytest.raises(SignatureMismatchError, match="the signer's answer does not match"):
        Envelope.sign(STATEMENT_TYPE, PAYLOAD, [Confused()])
    with pytest.raises(SignatureMismatchError, match="the signer's answer does not match"):
        signed("bob").with_signature(Confused())


def test_signing_a_bad_type():
    with pytest.raises(FormatError, match="not a payload type"):
        Envelope.sign("é", b"", [key("alice")])


def test_an_envelope_that_nobody_could_read_is_not_written():
    with pytest.raises(FormatError, match="envelope too large"):
        Envelope("t", b"\0" * (MAX_ENVELOPE_BYTES * 3 // 4), (Signature("", b"s"),)).to_bytes()


def test_the_largest_envelope():
    one = (Signature("", b"s"),)
    groups, rest = divmod(MAX_ENVELOPE_BYTES - len(Envelope("t", b"", one).to_bytes()), 4)
    raw = Envelope("t" * (1 + rest), b"\0" * 3 * groups, one).to_bytes()
    assert len(raw) == MAX_ENVELOPE_BYTES
    assert len(Envelope.parse(raw, "e").payload) == 3 * groups
    with pytest.raises(FormatError, match="envelope too large"):
        Envelope("t" * (2 + rest), b"\0" * 3 * groups, one).to_bytes()


def test_a_signature_under_my_key_id_that_is_not_mine():
    taken = Envelope(STATEMENT_TYPE, PAYLOAD, (Signature(keyid("alice"), b"junk"),))
    with pytest.raises(FormatError, match="key id twice"):
        taken.with_signature(key("alice"))


# -- bad envelopes ---------------------------------------------------------------------------------

GOOD = {"payloadType": "t", "payload": b64(b"p"), "signatures": [{"keyid": "a", "sig": b64(b"s")}]}


def _without(name):
    return {k: v for k, v in GOOD.items() if k != name}


def _signatures(*each):
    return {**GOOD, "signatures": list(each)}


BAD = {
    "nothing": (b"", "not JSON"),
    "no object": (b"[]", "not a JSON object"),
    "not UTF-8": (b'{"payload":"\xff"}', "not UTF-8"),
    "trailing data": (json.dumps(GOOD).encode() + b"{}", "not JSON"),
    "duplicate key": (b'{"payload":"", "payload":"cA=="}', "duplicate key"),
    "case twin": ({**GOOD, "PayloadType": "u"}, "differ in case only"),
    "unknown field": ({**GOOD, "extra": 1}, "unknown field: e, got 'extra'"),
    "unknown field of a signature": (_signatures({"sig": "cw==", "cert": ""}), "unknown field"),
    "no payload": (_without("payload"), "payload, want a string, got nothing"),
    "no type": (_without("payloadType"), "payloadType, want a string, got nothing"),
    "no list of signatures": (_without("signatures"), "want a list, got nothing"),
    "payload a number": ({**GOOD, "payload": 1}, "want a string, got an integer"),
    "payload a float": ({**GOOD, "payload": 1.5}, "not an integer"),
    "signatures an object": ({**GOOD, "signatures": {}}, "want a list, got an object"),
    "signature a string": (_signatures("s"), "want an object, got a string"),
    "no sig": (_signatures({"keyid": "a"}), "sig, want a string, got nothing"),
    "keyid a number": (_signatures({"keyid": 1, "sig": "cw=="}), "want a string"),
    "keyid too long": (_signatures({"keyid": "x" * 257, "sig": "cw=="}), "key id too long"),
    "one signature twice": (_signatures({"sig": "cw=="}, {"sig": "cw=="}), "same signature"),
    "one signature, two ids": (
        _signatures({"keyid": "a", "sig": "cw=="}, {"keyid": "b", "sig": "cw=="}),
        "twice",
    ),
    "one id, two signatures": (
        _signatures({"keyid": "a", "sig": "cw=="}, {"keyid": "a", "sig": "cA=="}),
        "twice",
    ),
    "65 signatures": (_signatures(*({"sig": b64(bytes([i]))} for i in range(65))), "at most 64, got 65"),
    "a million values": (b"[" + b"1," * 1_000_000 + b"1]", "too many values"),
    "too large": (b" " * (MAX_ENVELOPE_BYTES + 1), "too large"),
    "nested": (b'{"a":' * 5000, "nested too deeply|not JSON"),
    **{f"type {each!r:.12}": ({**GOOD, "payloadType": each}, "not a payload type") for each in BAD_TYPES},
    **{
        f"payload {text!r}": ({**GOOD, "payload": text}, message)
        for text, message in {
            "cA": "not base64",
            "cA=": "not base64",
            "cA===": "base64",
            "cB==": "not canonical base64",
            "c A==": "not base64",
            "cA==\n": "not base64",
            "cA==cA==": "base64",
            "_-8=": "not base64",
            "é": "not base64",
            "====": "base64",
        }.items()
    },
}


@pytest.mark.parametrize(("document", "message"), BAD.values(), ids=BAD)
def test_refuses(document, message):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(FormatError, match=message) as caught:
        Envelope.parse(raw, "e")
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("commas", "message"), [(1024, "not JSON"), (1025, "too many values for an envelope")]
)
def test_values_are_counted_before_they_are_parsed(commas, message):
    with pytest.raises(FormatError, match=message):
        Envelope.parse(b"," * commas, "e")


def test_a_key_id_has_at_most_256_characters():
    raw = Envelope("t", b"p", (Signature("x" * 256, b"s"),)).to_bytes()
    assert len(Envelope.parse(raw, "e").signatures[0].keyid) == 256


def test_no_signatures_is_unsigned():
    with pytest.raises(UnsignedError, match=r"no signature: bundle\.dsse\.json") as caught:
        Envelope.parse(json.dumps(_signatures()).encode(), "bundle.dsse.json")
    assert caught.value.exit_code == 13


def test_url_safe_base64_is_refused():
    with pytest.raises(FormatError, match="not base64"):
        Envelope.parse(json.dumps({**GOOD, "payload": "-_8="}).encode(), "e")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_our_words(raw):
    with pytest.raises(AirgapError):
        Envelope.parse(raw, "e")


def test_a_flipped_bit_is_refused():
    """Every byte, one bit each; the key ids too."""
    root, raw = make_root("alice", "bob", threshold=2), signed("alice", "bob").to_bytes()
    for index in range(len(raw)):
        bad = raw[:index] + bytes([raw[index] ^ 1 << index % 8]) + raw[index + 1 :]
        with pytest.raises(AirgapError):
            check_signatures(Envelope.parse(bad, "e"), root, "release", NOW)


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_a_cut_envelope_is_refused(length):
    raw = signed("alice").to_bytes().rstrip(b"\n")
    with pytest.raises(AirgapError):
        Envelope.parse(raw[: min(length, len(raw) - 1)], "e")


OTHERWISE = {
    "indented": lambda raw: json.dumps(json.loads(raw), indent=2).encode(),
    "without its line break": lambda raw: raw[:-1],
    "with a space behind": lambda raw: raw + b" ",
    "with an escape": lambda raw: raw.replace(b"payloadType", b"payload\\u0054ype"),
    "in another order": lambda raw: (
        json.dumps(dict(reversed(json.loads(raw).items())), separators=(",", ":")).encode() + b"\n"
    ),
    "without a key id": lambda raw: re.sub(rb'"keyid":"[^"]*",', b"", raw),
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE)
def test_other_bytes_for_the_same_are_refused(change):
    """One envelope is one file: sums of envelopes name receipts and trust roots."""
    changed = change(signed("alice").to_bytes())
    with pytest.raises(FormatError, match="canonical form"):
        Envelope.parse(changed, "x")
    assert Envelope.parse(changed, "x", foreign=True).payload == PAYLOAD
