"""Changes of the trust root by one person."""

import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airgap.errors import TrustError
from airgap.site import Site, now
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from tests.cli.conftest import PASSPHRASE, Gap, Side, files_of
from tests.cli.trust_support import add, person, proposed, version

# -- one person


def test_add_is_installed_at_once_and_crosses_with_the_next_bundle(gap: Gap) -> None:
    path, keyid = person(gap, gap.online, "bob")
    done = gap.online("trust", "add", "bob", "--key", path, "--keyid", keyid.upper(), "--signer", "alice")
    lines = done.out.splitlines()
    assert lines[0] == "trust root 1 -> 2"
    assert f"new: key {keyid}: bob, ecdsa-p256" in lines
    assert (
        "The next bundle carries it to the other side. To install it there at once, take the file:" in lines
    )
    assert gap.online.ended() == ("trust-change", "ok", 0)
    bundle = gap.pack("--key", "bob")
    assert version(gap.offline) == 1
    assert "signed by bob" in gap.offline("verify", bundle).out
    assert version(gap.offline) == 2


def test_its_file_can_be_installed(gap: Gap) -> None:
    done = gap.online("trust", "rotate", "--days", "900", "--json").json
    gap.offline("trust", "install", done["path"])
    shown = gap.offline("trust", "show", "--json").json
    assert (shown["version"], shown["fingerprint"]) == (2, done["fingerprint"])


def test_openssl_checks_a_new_root(gap: Gap) -> None:
    done = gap.online("trust", "rotate", "--days", "900", "--json").json
    envelope = Envelope.parse(Path(done["path"]).read_bytes(), "root")
    (gap.folder / "pae").write_bytes(envelope.message)
    (gap.folder / "sig").write_bytes(envelope.signatures[0].sig)
    key = gap.online.home / "keys" / "alice.pub"
    words = [
        "openssl",
        "dgst",
        "-sha256",
        "-verify",
        key,
        "-signature",
        gap.folder / "sig",
        gap.folder / "pae",
    ]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "Verified OK\n"


def test_add_a_receiving_site(gap: Gap) -> None:
    told = gap.offline("key", "list", "--json").json["site"]
    key = gap.offline.home / "site.pub"
    gap.online("trust", "add-site", "plant-7", "--key", key, "--keyid", told["keyid"])
    shown = gap.online("trust", "show", "--json").json
    assert shown["sites"]["plant-7"] == [told["keyid"]]
    assert told["keyid"] in shown["roles"]["receipt"]["keyids"]
    assert "plant-7 (this site, for receipts)" in gap.offline("key", "list").out


def test_remove(gap: Gap) -> None:
    keyid = add(gap, "bob")
    bundle = gap.pack("--key", "bob")
    gap.online("trust", "remove", keyid[:16])
    for number in (2, 3):
        gap.offline("trust", "install", gap.online.home / "trust" / f"{number}.root.json")
    assert "not signed by a key" in gap.offline("verify", bundle, code=13).err


@pytest.mark.parametrize("by", ["bundle", "sha256", "serial"])
def test_revoke_but_for_what_is_accepted(gap: Gap, by: str) -> None:
    add(gap, "bob")
    bundle = gap.pack("--key", "bob")
    sha256 = gap.offline("inspect", bundle, "--json").json["statement_sha256"]
    words = {
        "bundle": ("0", "--accept", bundle),
        "sha256": ("0", "--accept", sha256),
        "serial": ("1",),
    }[by]
    gap.online("trust", "revoke", "bob", "--after-serial", *words)
    for number in (2, 3):
        gap.offline("trust", "install", gap.online.home / "trust" / f"{number}.root.json")
    gap.offline("verify", bundle)
    again = gap.folder / "stack.yaml"
    again.write_text(again.read_text() + "# 2\n")
    gap.online("pack", again, "--to", gap.stick, "--key", "bob")
    refused = gap.offline("verify", gap.stick / "stack-0002", code=13)
    assert "signed by a revoked key (bob" in refused.err


def test_replace_a_key(gap: Gap) -> None:
    path, keyid = person(gap, gap.online, "alice-2")
    gap.online("trust", "rotate", "--key", "alice", "--by", path, "--keyid", keyid)
    shown = gap.online("trust", "show", "--json").json
    assert shown["roles"]["root"]["keyids"] == shown["roles"]["release"]["keyids"] == [keyid]
    bundle = gap.pack("--key", "alice-2")
    assert "signed by alice," in gap.offline("verify", bundle).out


def test_a_root_that_ends_soon_is_told(gap: Gap) -> None:
    assert "warning" not in gap.online("trust", "show").out
    gap.online("trust", "rotate", "--days", "7")
    told = str(gap.online("trust", "show", "--json").json["warning"])
    assert re.fullmatch(r"trust root 2 expires in [67] days: `airgap trust rotate` makes the next one", told)
    assert "warning: trust root 2 expires in " in gap.online("trust", "show").out
    gap.pack()
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick)
    assert "warning: trust root 2 expires in " in done.err


def test_an_expired_root_is_rotated(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    later = now() + timedelta(days=800)
    monkeypatch.setattr("airgap.site.now", lambda: later)
    assert "has expired" in gap.online("trust", "show", "--json").json["warning"]
    gap.online("trust", "rotate")
    assert gap.online("trust", "show", "--json").json["warning"] is None


# -- bad input


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("add", "bob"), 2, "missing option"),
        (("add", "bob", "--key", "nowhere.pub"), 12, "missing file"),
        (("add", "bob", "--key", "junk.pub"), 10, "not a usable public key"),
        (("add", "bob", "--key", "bob.pub"), 2, "--keyid is missing: bob"),
        (("add", "bob", "--key", "bob.pub", "--keyid", "ab"), 2, "not a key id: bob, want 64 hex digits, got 2"),
        (("add", "bob", "--key", "bob.pub", "--keyid", "ab" * 32), 13, "wrong key id: bob, want abab"),
        (("add", "bob", "--key", "bob.pub", "--role", "receipt"), 2, "not a role that people can have"),
        (("add", "bob", "--key", "bob.pub", "--keyid", "BOB", "--signer", "eve"), 13, "no such key: eve"),
        (("add", "bob", "--key", "bob.pub", "--keyid", "BOB", "--signer", "bob"), 13, "no key of this site may sign"),
        (("add", "x" * 200, "--key", "bob.pub", "--keyid", "BOB"), 10, "not an owner's name"),
        (("add", "alice", "--key", "site.pub", "--keyid", "SITE"), 2, "the key belongs to another owner: alice, got hq"),
        (("add", "hq", "--key", "site.pub", "--keyid", "SITE"), 2, "signs only receipts"),
        (("add-site", "Not a site", "--key", "bob.pub", "--keyid", "BOB"), 10, "not a site name"),
        (("add-site", "plant-7", "--key", "bob.pub"), 2, "--keyid is missing: plant-7"),
        (("remove", "alice"), 2, "too few keys could still sign trust roots: role root, want 1 keys, got none"),
        (("remove", "hq"), 2, "too few keys could still sign receipts"),
        (("remove", "nobody"), 2, "no such key in the trust root: nobody"),
        (("revoke", "alice", "--after-serial", "0"), 2, "too few keys could still sign trust roots"),
        (("revoke", "alice"), 2, "missing option"),
        (("revoke", "alice", "--after-serial", "-1"), 2, "--after-serial"),
        (("revoke", "hq", "--after-serial", "0"), 2, "only a key that signs bundles"),
        (("revoke", "alice", "--after-serial", "0", "--accept", "nowhere"), 12, "nowhere"),
        (("rotate", "--key", "alice"), 2, "want both or neither"),
        (("rotate", "--key", "nobody", "--by", "bob.pub", "--keyid", "BOB"), 2, "no such key"),
        (("rotate", "--days", "0"), 2, "--days"),
        (("threshold", "release", "2"), 2, "too few keys could still sign bundles: role release, want 2 keys, got 1"),
        (("threshold", "receipt", "1"), 2, "not a role that people can have"),
        (("threshold", "release", "1"), 2, "this would not change the trust root"),
        (("sign", "nowhere.json", "--yes"), 12, "missing file"),
        (("sign", "junk.pub", "--yes"), 10, "junk.pub"),
    ],
)  # fmt: skip
def test_refused(
    gap: Gap, words: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gap.folder)
    _, keyid = person(gap, gap.online, "bob")
    (gap.folder / "junk.pub").write_text("junk")
    (gap.folder / "site.pub").write_bytes((gap.online.home / "site.pub").read_bytes())
    own = Site(gap.online.home).key.public_key.keyid
    before = files_of(gap.online.home / "trust")
    filled = [{"BOB": keyid, "SITE": own}.get(word, word) for word in words]
    done = gap.online("trust", *filled, code=code)
    assert message in done.err
    assert "Traceback" not in done.err
    assert files_of(gap.online.home / "trust") == before
    assert not list(gap.folder.glob("*.proposal.json"))


def test_a_side_without_root_keys_changes_nothing(gap: Gap) -> None:
    refused = gap.offline("trust", "rotate", "--days", "900", code=13)
    assert "no key of this site may sign trust roots" in refused.err
    assert gap.offline.ended() == ("trust-change", "refused", 13)


def test_a_wrong_passphrase(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE + "!")
    assert "cannot decrypt" in gap.online("trust", "rotate", "--days", "900", code=13).err
    assert version(gap.online) == 1


def test_a_proposal_overwrites_nothing(gap: Gap, bob: Side) -> None:
    path = proposed(gap, bob)
    before = path.read_bytes()
    refused = gap.online("trust", "rotate", "--days", "900", "--proposal", path, code=2)
    assert f"the file already exists: {path}" in refused.err
    assert path.read_bytes() == before


def test_two_next_versions_are_never_mixed(gap: Gap) -> None:
    site = Site(gap.online.home)
    old = site.root()
    key = SigningKey.load(site.key_path("alice"), PASSPHRASE.encode)
    gap.online("trust", "rotate", "--days", "900")
    other = replace(old.root, version=2)
    raw = Envelope.sign(ROOT_TYPE, other.to_bytes(), [key]).to_bytes()
    with pytest.raises(TrustError, match="another trust root of this version is installed here"):
        site.install_root(old.successor(raw, "2"))
