"""Changes of the trust root that two persons sign."""

import io
from dataclasses import replace

import pytest

from airgap.site import Site
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap, Side, files_of
from tests.cli.trust_support import person, proposed, version


def test_two_persons_change_the_root(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    assert (version(gap.online), version(bob)) == (3, 3)
    refused = gap.online("trust", "install", path, code=13)
    assert refused.err.splitlines()[-1] == "hint: run `airgap trust sign FILE` to add a signature"
    done = bob("trust", "sign", path, "--yes")
    assert done.err.splitlines()[0] == "trust root 3 -> 4"
    assert done.err.splitlines()[1].startswith("changed: expires: ")
    alice = bob("trust", "show", "--json").json["keys"]
    [first] = [key["keyid"] for key in alice if key["owner"] == "alice"]
    assert f"signed so far by alice {first[:16]}" in done.err.splitlines()
    assert f"  airgap trust install {path}" in done.out
    assert version(bob) == 4
    assert bob.ended() == ("trust-change", "ok", 0)
    gap.online("trust", "install", path)
    assert version(gap.online) == 4
    bundle = gap.pack()
    gap.offline("verify", bundle)
    assert version(gap.offline) == 4


def test_the_proposal_says_what_is_wanted(gap: Gap, bob: Side) -> None:
    proposed(gap, bob)
    done = gap.online(
        "trust", "rotate", "--days", "900", "--proposal", gap.folder / "p.json"
    ).out.splitlines()
    assert done[2] == f"written: {gap.folder}/p.json; more signatures are needed:"
    assert done[3].startswith(
        "  by trust root 3: 2 of 2 keys of different owners with the role root, got 1 ("
    )
    assert done[-1] == f"bob can sign: airgap trust sign {gap.folder}/p.json"


def test_signing_twice_adds_nothing(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    before = path.read_bytes()
    refused = gap.online("trust", "sign", path, "--yes", code=13)
    assert f"no key of this site can add a signature: {path}, want a key of bob, got alice" in refused.err
    assert path.read_bytes() == before


def test_a_complete_one_that_was_not_installed_is_installed(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    bob("trust", "sign", path, "--yes")
    (bob.home / "trust" / "4.root.json").unlink()  # killed between the file and the root
    ledger = bob.home / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    bob("trust", "sign", path, "--yes")
    assert version(bob) == 4


def test_one_that_was_installed_already_stays_installed(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    bob("trust", "sign", path, "--yes")
    before = files_of(bob.home / "trust"), path.read_bytes()
    bob("trust", "sign", path, "--yes")
    assert (files_of(bob.home / "trust"), path.read_bytes()) == before


def test_nobody_signs_unasked(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    before = files_of(bob.home / "trust"), path.read_bytes()
    refused = bob("trust", "sign", path, code=2)
    assert "--yes is missing, want a terminal, or --yes after reading what changes" in refused.err
    assert (files_of(bob.home / "trust"), path.read_bytes()) == before
    assert bob.ended() == ("trust-change", "failed", 2)


def test_a_proposal_that_is_overtaken(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    other = gap.folder / "other.json"
    gap.online("trust", "rotate", "--days", "500", "--proposal", other)
    bob("trust", "sign", other, "--yes")
    refused = bob("trust", "sign", path, "--yes", code=13)
    assert "wrong version of the trust root" in refused.err
    assert version(bob) == 4


def test_a_proposal_that_was_changed(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    envelope = Envelope.parse(path.read_bytes(), "p")
    evil = envelope.payload.replace(b'"threshold":2', b'"threshold":1')
    assert evil != envelope.payload
    path.write_bytes(replace(envelope, payload=evil).to_bytes())
    assert "not signed by a root key of trust root 3" in bob("trust", "sign", path, "--yes", code=13).err
    assert version(bob) == 3


def test_a_proposal_that_changes_while_it_is_shown(
    gap: Gap, bob: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = proposed(gap, bob)
    raw = path.read_bytes()

    def agree(found: object, *, yes: bool) -> None:
        path.write_bytes(raw + b" ")

    monkeypatch.setattr("airgap.cli.trust_change._agree", agree)
    assert "the file has changed meanwhile" in bob("trust", "sign", path, code=13).err
    assert path.read_bytes() == raw + b" "
    assert version(bob) == 3


def test_a_strangers_proposal(gap: Gap) -> None:
    stranger = SigningKey.generate()
    site = Site(gap.online.home)
    path = gap.folder / "p.json"
    new = replace(site.root().root, version=2)
    path.write_bytes(Envelope.sign(ROOT_TYPE, new.to_bytes(), [stranger]).to_bytes())
    assert "not signed by a root key" in gap.online("trust", "sign", path, "--yes", code=13).err


def test_a_link_is_not_followed(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    link = gap.folder / "link.json"
    link.symlink_to(path)
    assert "not a regular file" in bob("trust", "sign", link, "--yes", code=12).err


# -- at a terminal


class Typed(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


def test_the_key_id_is_typed(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    path, keyid = person(gap, gap.online, "bob")
    monkeypatch.setattr("sys.stdin", Typed("ab" * 32 + "\n"))
    assert "wrong key id" in gap.online("trust", "add", "bob", "--key", path, code=13).err
    monkeypatch.setattr("sys.stdin", Typed(f"{keyid[:32]} {keyid[32:]}\n"))
    done = gap.online("trust", "add", "bob", "--key", path)
    assert keyid not in done.err.split("Type the key id")[0]
    assert version(gap.online) == 2


def test_a_person_is_asked_before_signing(gap: Gap, bob: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    path = proposed(gap, bob)
    monkeypatch.setattr("sys.stdin", Typed("n\n"))
    assert "changed: expires: " in bob("trust", "sign", path, code=130).err
    assert version(bob) == 3
    monkeypatch.setattr("sys.stdin", Typed("y\n"))
    bob("trust", "sign", path)
    assert version(bob) == 4
