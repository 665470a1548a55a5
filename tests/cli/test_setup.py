"""init, key and trust: making sites, keys and trust."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.site import Site
from airgap.site_check import record_root
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import Role, new_root
from tests.cli.conftest import PASSPHRASE, Gap, Side, files_of
from tests.support.images import simple_image


def test_init_makes_a_site(fresh: Side) -> None:
    done = fresh("init", "--owner", "alice", "--site", "hq")
    assert done.err == ""
    assert "site hq at" in done.out
    assert "airgap trust install 1.root.json" in done.out
    assert set(files_of(fresh.home)) == {
        "keys/alice.pem", "keys/alice.pub", "ledger.jsonl", "site.json", "site.key", "site.pub",
        "trust/1.root.json",
    }  # fmt: skip
    for private in ("keys/alice.pem", "site.key"):
        assert stat.S_IMODE((fresh.home / private).stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (fresh.home / "keys/alice.pem").read_bytes()
    assert fresh.ended() == ("trust-change", "ok", 0)


def test_init_names_owner_and_site_itself(fresh: Side) -> None:
    made = fresh("init", "--json").json
    assert made["owner"]
    assert made["site"]
    assert len(made["fingerprint"]) == 64


def test_init_twice_is_refused_and_changes_nothing(fresh: Side) -> None:
    fresh("init", "--owner", "alice", "--site", "hq")
    before = files_of(fresh.home)
    done = fresh("init", "--owner", "bob", "--site", "hq", code=2)
    assert done.err.splitlines() == [
        f"error: this site is already set up: {fresh.home}",
        "hint: show its root and keys with `airgap trust show`",
    ]
    assert files_of(fresh.home) == before


def test_init_under_another_name_is_refused(fresh: Side) -> None:
    fresh("init", "--owner", "alice", "--site", "hq")
    done = fresh("init", "--owner", "alice", "--site", "lab", code=2)
    assert f"this folder belongs to another site: {fresh.home}, want lab, got hq" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--owner", "../alice"), 2, "not a key name, want letters, digits, . _ -, got '../alice'"),
        (("--owner", ""), 2, "empty argument"),
        (("--owner", "a" * 64), 2, "not a key name"),
        (("--site", "HQ"), 2, "not a site name, want a-z, 0-9 and -, at most 63, got 'HQ'"),
        (("--site", "../x"), 2, "not a site name"),
        (("--algorithm", "rsa-4096"), 2, "this key algorithm is not available here"),
        (("--passphrase-file", "/nowhere/at/all"), 13, "cannot read the passphrase: /nowhere/at/all"),
        (("--passphrase-file", "/dev/null"), 13, "the passphrase is empty: /dev/null"),
        (("--nonsense",), 2, "no such option"),
    ],
)
def test_init_refuses(fresh: Side, words: tuple[str, ...], code: int, message: str) -> None:
    done = fresh("init", *words, code=code)
    assert message in done.err
    assert (fresh.home / "trust" / "1.root.json").exists() == (code == 0)


def test_init_goes_on_after_a_refusal(fresh: Side) -> None:
    fresh("init", "--owner", "alice", "--site", "hq", "--algorithm", "rsa-4096", code=2)
    fresh("init", "--owner", "alice", "--site", "hq")
    assert [r["result"] for r in fresh.records() if r["phase"] == "end"] == ["failed", "ok"]


def test_init_wants_a_passphrase(fresh: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRGAP_PASSPHRASE")
    done = fresh("init", "--owner", "alice", "--site", "hq", code=13)
    assert done.err.splitlines() == [
        "error: no passphrase",
        "hint: use --passphrase-file or AIRGAP_PASSPHRASE, or run it on a terminal",
    ]
    assert not list(fresh.home.glob("keys/*"))


def test_keys_are_made_listed_and_shown(gap: Gap) -> None:
    made = gap.online("key", "generate", "bob", "--algorithm", "ed25519", "--json").json
    listed = gap.online("key", "list", "--json").json["keys"]
    assert [(key["owner"], key["algorithm"]) for key in listed] == [
        ("alice", "ecdsa-p256"),
        ("bob", "ed25519"),
    ]
    assert listed[1]["keyid"] == made["keyid"]
    shown = gap.online("key", "show", "bob")
    assert shown.out == (gap.online.home / "keys" / "bob.pub").read_text()
    assert gap.online.ended() == ("trust-change", "ok", 0)
    assert "bob" in gap.online("key", "list").out
    told = gap.online("key", "generate", "carol").out.splitlines()
    assert told[1] == f"  key id {gap.online('key', 'show', 'carol', '--json').json['keyid']}"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("generate", "alice"), 13, "a key with that name exists already"),
        (("generate", "-x"), 2, "no such option"),
        (("generate", ".hidden"), 2, "not a key name"),
        (("generate",), 2, "missing argument"),
        (("show", "nobody"), 13, "no such key: nobody, got alice"),
        (("show", "../site"), 13, "no such key"),
    ],
)
def test_key_refuses(gap: Gap, words: tuple[str, ...], code: int, message: str) -> None:
    before = files_of(gap.online.home / "keys")
    assert message in gap.online("key", *words, code=code).err
    assert files_of(gap.online.home / "keys") == before


def test_trust_show(gap: Gap) -> None:
    shown = gap.offline("trust", "show", "--json").json
    assert shown["version"] == 1
    assert shown["roles"]["release"]["threshold"] == 1
    lines = gap.offline("trust", "show").out.splitlines()
    assert lines[0].startswith("trust root 1, epoch 1, until ")
    assert "".join(lines[1].split()[1:]) == shown["fingerprint"]
    assert any(line.startswith("alice  root, release  ecdsa-p256") for line in lines)


@pytest.mark.parametrize("words", [("trust", "show"), ("verify", "x"), ("load", "x", "--to", "oci:y")])
def test_without_a_site(
    fresh: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bundle.dsse.json").write_text("{}")
    done = fresh(*words, code=2)
    assert "there is no site here yet" in done.err
    assert not fresh.home.exists()


@pytest.mark.parametrize(
    ("fingerprint", "code", "message"),
    [
        (None, 2, "--fingerprint is missing: trust root 1"),
        ("ab" * 31, 2, "not a fingerprint: trust root 1, want 64 hex digits, got 62"),
        ("ab" * 32, 13, "wrong fingerprint: trust root 1, want abab"),
        ("", 2, "empty argument"),
    ],
)
def test_trust_install_compares(
    gap: Gap, fresh: Side, fingerprint: str | None, code: int, message: str
) -> None:
    root = gap.online.home / "trust" / "1.root.json"
    words = () if fingerprint is None else ("--fingerprint", fingerprint)
    assert message in fresh("trust", "install", root, "--site", "plant-8", *words, code=code).err
    assert not (fresh.home / "trust").exists()


def test_trust_install_reads_fingerprints_as_people_write_them(gap: Gap, fresh: Side) -> None:
    root = gap.online.home / "trust" / "1.root.json"
    told = gap.online("trust", "show").out.splitlines()[1].removeprefix("fingerprint ").upper()
    done = fresh("trust", "install", root, "--site", "plant-8", "--fingerprint", told, "--json")
    assert done.json["fresh"] is True
    again = fresh("trust", "install", root)
    assert again.out.splitlines() == ["installed already: trust root 1 of alice, for site plant-8"]


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 2, "no such file or folder"),
        (b"", 10, "not JSON"),
        (b"{}", 10, ""),
        (b"x" * (17 << 20), 12, "at most"),
    ],
    ids=["absent", "empty", "other", "huge"],
)
def test_trust_install_refuses_what_is_no_root(
    fresh: Side, tmp_path: Path, content: bytes | None, code: int, message: str
) -> None:
    path = tmp_path / "1.root.json"
    if content is not None:
        path.write_bytes(content)
    assert message in fresh("trust", "install", path, "--fingerprint", "a" * 64, code=code).err
    assert not fresh.home.exists()


def successor(site: Site, owner: str = "alice") -> bytes:
    """Version 2 of a site's root, with a second signing key, signed by the first."""
    old = site.root().root
    key = SigningKey.load(site.key_path(owner), PASSPHRASE.encode)
    other = SigningKey.generate("ed25519")
    new = new_root("bob", other.public_key, site.name, site.key.public_key, expires=old.expires)
    keys = old.keys | new.keys
    release = Role(old.roles["release"].keyids | new.roles["release"].keyids, 1, distinct_owners=False)
    root = type(old)(
        version=2,
        epoch=1,
        expires=old.expires,
        keys=keys,
        roles={**old.roles, "release": release},
        sites=old.sites,
    )
    return Envelope.sign(ROOT_TYPE, root.to_bytes(), [key]).to_bytes()


def test_a_successor_needs_no_fingerprint(gap: Gap, tmp_path: Path) -> None:
    path = tmp_path / "2.root.json"
    path.write_bytes(successor(Site(gap.online.home)))
    done = gap.offline("trust", "install", path)
    assert done.out.splitlines() == ["installed: trust root 2 of alice, bob, for site plant-7"]
    assert gap.offline("trust", "show", "--json").json["version"] == 2
    assert gap.offline.ended() == ("trust-change", "ok", 0)


def test_a_strangers_root_is_refused(gap: Gap, fresh: Side) -> None:
    made = fresh("init", "--owner", "mallory", "--site", "hq", "--json").json
    before = files_of(gap.offline.home / "trust")
    done = gap.offline("trust", "install", made["root"], "--fingerprint", made["fingerprint"], code=13)
    assert (
        "this is another sender's trust root: trust root 1, want one that follows the installed root of alice"
        in done.err
    )
    assert files_of(gap.offline.home / "trust") == before
    assert gap.offline.ended() == ("trust-change", "refused", 13)


def test_an_expired_root_releases_nothing(gap: Gap) -> None:
    site = Site(gap.online.home)
    key = SigningKey.load(site.key_path("alice"), PASSPHRASE.encode)
    past = datetime.now(UTC) - timedelta(days=1)
    root = new_root("alice", key.public_key, "hq", site.key.public_key, expires=past)
    raw = Envelope.sign(ROOT_TYPE, root.to_bytes(), [key]).to_bytes()
    (gap.online.home / "trust" / "1.root.json").write_bytes(raw)
    record_root(site, 1, raw, "expired")
    path = gap.layout(a=simple_image("a"))
    assert "the trust root has expired" in gap.online("pack", path, "--to", gap.stick, code=14).err
    assert not gap.stick.exists()


@pytest.mark.parametrize("passphrase", ["x", "7 bytes"])
def test_a_passphrase_that_is_soon_guessed(
    fresh: Side, monkeypatch: pytest.MonkeyPatch, passphrase: str
) -> None:
    monkeypatch.setenv("AIRGAP_PASSPHRASE", passphrase)
    done = fresh("init", "--owner", "alice", "--site", "hq", code=13)
    assert f"the passphrase is too short, want 8 bytes or more, got {len(passphrase)}" in done.err
    assert not (fresh.home / "keys").exists()
    monkeypatch.setenv("AIRGAP_PASSPHRASE", "8 bytes!")
    fresh("init", "--owner", "alice", "--site", "headquarters")  # nothing was done under the other name
