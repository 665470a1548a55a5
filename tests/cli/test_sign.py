"""Two people: one packs, the other checks and signs, and the receiving side wants both."""

import io
import subprocess
from pathlib import Path

import pytest

from airgap.trust.envelope import Envelope
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap, Side, files_of
from tests.support.images import Layer, make_image, noise, simple_image


def keyid(side: Side, name: str) -> str:
    found = side("key", "show", name, "--json").json
    return str(found["keyid"])


@pytest.fixture
def two(gap: Gap) -> Gap:
    """The trust root of the sending side wants alice and bob; bob's key is on the same machine."""
    gap.online("key", "generate", "bob")
    public = gap.folder / "bob.pub"
    public.write_text(gap.online("key", "show", "bob").out)
    gap.online("trust", "add", "bob", "--key", public, "--keyid", keyid(gap.online, "bob"))
    gap.online("trust", "threshold", "release", "2", "--distinct-owners")
    return gap


def test_a_bundle_loads_when_both_have_signed(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    packed = two.online("pack", path, "--to", two.stick, "--key", "alice")
    assert "1 of 2 signatures: others must sign it with `airgap sign` before it loads" in packed.err
    bundle = two.stick / "stack-0001"
    for command in ("verify", "load"):
        words = ("--to", f"oci:{two.folder}/out") if command == "load" else ()
        done = two.offline(command, bundle, *words, code=13)
        assert "too few signatures" in done.err
        assert "hint: run `airgap sign` to add one" in done.err
    shown = two.offline("inspect", bundle, "--json").json
    assert shown["owners"] == ["alice"]
    assert shown["refusal"].startswith("too few signatures (2 of 2 keys of different owners")
    done = two.online("sign", bundle, "--yes", "--key", "bob")
    assert done.out == "signed: stack-0001, now by alice, bob; every byte was checked\n"
    assert two.online.ended() == ("sign", "ok", 0)
    assert "signed by alice, bob" in two.offline("verify", bundle).out
    two.offline("load", bundle, "--to", f"oci:{two.folder}/out")
    again = two.online("sign", bundle, "--yes", "--key", "bob")
    assert again.out.startswith("signed already: stack-0001, now by alice, bob")


def test_owners_are_shown_with_their_keys_where_somebody_decides(two: Gap) -> None:
    alice, bob = (f"{name} {keyid(two.online, name)[:16]}" for name in ("alice", "bob"))
    two.online("pack", two.layout(api=simple_image("api")), "--to", two.stick, "--key", "alice")
    bundle = two.stick / "stack-0001"
    assert (
        f"signed so far by {alice}; this is {bob}" in two.online("sign", bundle, "--yes", "--key", "bob").err
    )
    assert {alice, bob} <= set(two.offline("verify", bundle).out.strip().partition("keys: ")[2].split(", "))
    shown = two.offline("inspect", bundle).out
    for name in ("alice", "bob"):
        assert f"  key {keyid(two.online, name)} of {name}\n" in shown
    receipt = two.offline("load", bundle, "--to", f"oci:{two.folder}/out", "--json").json["receipt"]
    line = two.offline("receipt", "show", receipt).out.splitlines()[2]
    assert alice in line
    assert bob in line


def test_pack_again_keeps_the_other_signature(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    bundle = two.stick / "stack-0001"
    two.online("sign", bundle, "--yes", "--key", "bob")
    before = files_of(bundle)
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    assert files_of(bundle) == before


def test_volumes_are_signed_together(two: Gap) -> None:
    path = two.layout(api=make_image([Layer.of({"big": noise(4_500_000, 1)})]))
    media = [two.folder / name for name in "ab"]
    words = [word for place in media for word in ("--to", place)]
    two.online("pack", path, *words, "--volume-size", "5MB", "--key", "alice")
    volumes = [place / f"stack-0001.v{number}" for number, place in enumerate(media, 1)]
    assert "volume" in two.online("sign", volumes[0], "--yes", "--key", "bob", code=19).err
    two.online("sign", *volumes, "--yes", "--key", "bob")
    assert "signed by alice, bob" in two.offline("verify", *volumes).out


def test_a_third_signature_that_nobody_asked_for(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    two.online("key", "generate", "carol")
    done = two.online("sign", two.stick / "stack-0001", "--yes", "--key", "carol", code=13)
    assert "this key may not sign bundles now" in done.err
    assert two.online.ended() == ("sign", "refused", 13)


def test_who_signs_has_to_be_said(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    assert "several signing keys match" in two.online("sign", two.stick / "stack-0001", "--yes", code=13).err
    two.offline("sign", two.stick / "stack-0001", code=13)  # a site that only receives has no such key


def test_a_tar(gap: Gap) -> None:
    path = gap.layout(api=simple_image("api"))
    gap.online("pack", path, "--to", gap.stick, "--tar")
    done = gap.online("sign", gap.stick / "stack-0001.tar", code=2)
    assert "a tar cannot be signed" in done.err


def test_no_tar_that_others_would_have_to_sign(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    done = two.online("pack", path, "--to", two.stick, "--key", "alice", "--tar", code=2)
    assert (
        "a tar cannot be signed later, and the trust root requires more signatures, want 2 signatures, got 1"
        in done.err
    )
    assert not (two.stick / "stack-0001.tar").exists()


def test_on_another_machine(two: Gap, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bob has a home of his own, with the same trust root, and his key in no other place."""
    path = two.layout(api=simple_image("api"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    bob = Side(tmp_path / "bobs", capsys)
    root = two.online("trust", "show", "--json").json
    file = two.online.home / "trust" / f"{root['version']}.root.json"
    bob("trust", "install", file, "--site", "bobs-desk", "--fingerprint", root["fingerprint"])
    (bob.home / "keys").mkdir()
    for suffix in ("pem", "pub"):
        (two.online.home / "keys" / f"bob.{suffix}").rename(bob.home / "keys" / f"bob.{suffix}")
    assert bob("sign", two.stick / "stack-0001", "--yes").out.startswith(
        "signed: stack-0001, now by alice, bob"
    )
    two.offline("verify", two.stick / "stack-0001")


def test_openssl_judges_each_signature(two: Gap) -> None:
    """By the command of VERIFY.txt, with the public keys that came by another way."""
    path = two.layout(api=simple_image("api"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    bundle = two.stick / "stack-0001"
    two.online("sign", bundle, "--yes", "--key", "bob")
    statement = (bundle / "statement.json").read_bytes()
    message = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(statement) + statement
    for owner in ("alice", "bob"):
        public = two.folder / f"{owner}.pub"
        public.write_text(two.online("key", "show", owner).out)
        sig = bundle / "sig" / f"{keyid(two.online, owner)[:16]}.sig"
        command = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", sig]
        done = subprocess.run(command, input=message, capture_output=True, check=True)
        assert done.stdout == b"Verified OK\n"


def test_a_strangers_signature_beside_good_ones_is_not_in_the_way(gap: Gap) -> None:
    """It counts for nothing, so `load` takes the bundle, and `inspect` shows it."""
    bundle = gap.pack()
    stranger = SigningKey.generate()
    path = bundle / "bundle.dsse.json"
    envelope = Envelope.parse(path.read_bytes(), "x").with_signature(stranger)
    path.write_bytes(envelope.to_bytes())
    (bundle / "sig" / f"{stranger.public_key.keyid[:16]}.sig").write_bytes(envelope.signatures[-1].sig)
    assert gap.offline("inspect", bundle, "--json").json["owners"] == ["alice"]
    gap.offline("verify", bundle)
    assert (
        "a signature that does not count" in gap.online("sign", bundle, "--yes", code=13).err
    )  # who signs vouches for no such company


# -- what a signer sees


def test_a_signer_sees_the_bundle_and_what_is_new_in_it(two: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    two.online(
        "pack",
        two.layout(api=simple_image("api"), old=simple_image("old")),
        "--to",
        two.stick,
        "--key",
        "alice",
    )
    first = two.stick / "stack-0001"
    shown = two.online("sign", first, "--key", "bob", code=2)
    assert "no earlier bundle of stack is known here" not in shown.out
    assert "--yes is missing, want a terminal, or --yes" in shown.err
    assert two.online.ended()[0] == "sign"
    assert "example.com/old:1" in shown.err
    two.online("sign", first, "--key", "bob", "--yes")
    path = two.layout(api=simple_image("other"), web=simple_image("web"))
    two.online("pack", path, "--to", two.stick, "--key", "alice")
    second = two.stick / "stack-0002"
    before = files_of(second)
    monkeypatch.setattr("sys.stdin", terminal("n\n"))
    shown = two.online("sign", second, "--key", "bob", code=130)
    assert "signed by alice: 1 of 2, root 3" in shown.err
    assert "since stack-0001 (sign here): 1 added, 1 removed, 1 moved" in shown.err
    lines = [line.split()[:2] for line in shown.err.splitlines()]
    for row in (
        ["example.com/api:1", "moved"],
        ["example.com/web:1", "added"],
        ["example.com/old:1", "removed"],
    ):
        assert row in lines
    assert files_of(second) == before
    assert two.online.ended() == ("sign", "aborted", 130)
    monkeypatch.setattr("sys.stdin", terminal("y\n"))
    assert "signed: stack-0002, now by alice, bob" in two.online("sign", second, "--key", "bob").out
    monkeypatch.setattr("sys.stdin", None)
    again = two.online("sign", second, "--key", "bob")  # nothing to ask
    assert again.out.startswith("signed already")


def terminal(text: str) -> io.StringIO:
    stream = io.StringIO(text)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    return stream


def test_the_first_bundle_has_nothing_to_compare_with(gap: Gap) -> None:
    bundle = gap.pack()
    gap.online("key", "generate", "bob")
    public = gap.folder / "bob.pub"
    public.write_text(gap.online("key", "show", "bob").out)
    gap.online("trust", "add", "bob", "--key", public, "--keyid", keyid(gap.online, "bob"))
    assert (
        "no earlier bundle of stack is known here" in gap.online("sign", bundle, "--key", "bob", "--yes").err
    )
    quiet = gap.online("sign", bundle, "--key", "alice", "--yes", "--quiet").err
    assert "example.com/api:1" not in quiet


def test_pack_again_does_not_miss_a_signature_that_is_there(two: Gap) -> None:
    path = two.layout(api=simple_image("api"))
    assert "1 of 2 signatures" in two.online("pack", path, "--to", two.stick, "--key", "alice").err
    two.online("sign", two.stick / "stack-0001", "--yes", "--key", "bob")
    assert "signatures" not in two.online("pack", path, "--to", two.stick, "--key", "alice").err


def test_a_threshold_that_one_person_can_undo_is_named(gap: Gap) -> None:
    """The warning names what to set, and ends when it is set."""
    for name, roles in (("bob", ("release",)), ("carol", ("root",))):
        gap.online("key", "generate", name)
        public = gap.folder / f"{name}.pub"
        public.write_text(gap.online("key", "show", name).out)
        words = [word for role in roles for word in ("--role", role)]
        gap.online("trust", "add", name, "--key", public, "--keyid", keyid(gap.online, name), *words)
        if name == "bob":
            done = gap.online("trust", "threshold", "release", "2", "--distinct-owners")
            assert "one person (alice) can still undo this alone" in done.out
            assert "`airgap trust add OWNER --key PUB.pem --role root`, then" in done.out
    shown = gap.online("trust", "rotate", "--json").json["warning"]
    assert shown.startswith("one person (alice or carol) can still undo this")
    assert "trust add" not in shown
    assert (
        gap.online("trust", "threshold", "root", "2", "--distinct-owners", "--json").json["warning"] is None
    )
