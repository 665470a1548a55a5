"""Bundles that are packed, resumed and repaired."""

import os
from pathlib import Path

import pytest

from airgap.trust.envelope import Envelope
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap, Side, files_of
from tests.cli.sources import API, BOTH, PLANNED, WEB, breaking, tight
from tests.support.images import simple_image

# -- pack


def test_pack_makes_a_bundle(gap: Gap) -> None:
    path = gap.layout(**BOTH)
    done = gap.online("pack", path, "--to", gap.stick, "--json")
    bundle = gap.stick / "stack-0001"
    names = set(files_of(bundle))
    assert done.json["bundle"] == str(bundle)
    assert done.json["fresh"] is True
    assert done.json["files"] == len([n for n in names if not n.startswith(("bundle", "statement", "sig/"))])
    assert {digest.path for image in BOTH.values() for digest in image.contents} < names
    assert not [name for name in names if name.endswith(".part")]
    assert done.err.splitlines()[0] == "no stack.lock.yaml: using the tags as they are now"
    begin, end = gap.online.records()[-2:]
    assert (begin["event"], begin["phase"]) == ("pack", "begin")
    assert (end["result"], end["exit_code"]) == ("ok", 0)
    assert end["statement_sha256"] == done.json["statement_sha256"]
    gap.offline("verify", bundle)


def test_packing_again_changes_nothing(gap: Gap) -> None:
    bundle = gap.pack()
    before = files_of(bundle)
    again = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick)
    assert f"already sealed, and checked completely: {bundle}" in again.out
    assert files_of(bundle) == before
    assert [path.name for path in gap.stick.iterdir()] == ["stack-0001"]


def test_a_changed_manifest_gets_the_next_serial(gap: Gap) -> None:
    first = gap.pack()
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# more\n")
    made = gap.online("pack", path, "--to", gap.stick, "--json").json
    assert (made["serial"], made["fresh"]) == (2, True)
    shown = gap.offline("inspect", gap.stick / "stack-0002", "--json").json
    assert shown["refusal"] is None
    gap.offline("load", first, "--to", f"oci:{gap.folder}/out")
    gap.offline("load", gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out")
    late = gap.offline("verify", first, code=14)
    assert "older than the last accepted bundle" in late.err


@pytest.mark.parametrize("blobs", [0, 1])
def test_an_interrupted_pack_is_gone_on_with(gap: Gap, monkeypatch: pytest.MonkeyPatch, blobs: int) -> None:
    path = gap.layout(**BOTH)
    gap.online("lock", path)
    with monkeypatch.context() as patch:
        breaking(patch, KeyboardInterrupt(), PLANNED + blobs)
        done = gap.online("pack", path, "--to", gap.stick, "--jobs", "1", code=130)
    assert "run the same command again to resume" in done.err
    left = files_of(gap.stick / "stack-0001")
    assert "bundle.dsse.json" not in left
    assert len([digest for image in BOTH.values() for digest in image.layers if digest.path in left]) == blobs
    made = gap.online("pack", path, "--to", gap.stick, "--json").json
    assert (made["serial"], made["fresh"]) == (1, True)
    gap.offline("verify", made["bundle"])


def test_ctrl_c_is_recorded(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gap.layout(**BOTH)
    breaking(monkeypatch, KeyboardInterrupt(), PLANNED)
    done = gap.online("pack", path, "--to", gap.stick, code=130)
    assert "Traceback" not in done.err
    assert gap.online.ended() == ("pack", "aborted", 130)


def test_a_torn_part_is_read_again_before_it_is_used(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gap.layout(**BOTH)
    with monkeypatch.context() as patch:
        breaking(patch, KeyboardInterrupt(), PLANNED)
        gap.online("pack", path, "--to", gap.stick, "--jobs", "1", code=130)
    layer = API.layers[0]
    part = gap.stick / "stack-0001" / f"{layer.path}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"\0" * 100)  # as a crash of the machine may leave it
    gap.online("pack", path, "--to", gap.stick)
    assert not part.exists()
    gap.offline("verify", gap.stick / "stack-0001")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "statement-only"])
def test_damage_is_repaired_under_the_same_statement(gap: Gap, damage: str) -> None:
    bundle = gap.pack()
    before = files_of(bundle)
    blob = bundle / API.layers[0].path
    if damage == "flip":
        blob.write_bytes(bytes([before[API.layers[0].path][0] ^ 1]) + before[API.layers[0].path][1:])
    elif damage == "cut":
        os.truncate(blob, 5)
    elif damage == "remove":
        blob.unlink()
    else:
        (bundle / "bundle.dsse.json").unlink()
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick)
    assert f"sealed: {bundle}" in done.out
    assert "already" not in done.out
    assert files_of(bundle) == before


def test_mending_keeps_other_peoples_signatures(gap: Gap) -> None:
    """A second signature over the same statement, of a key that this root does not even know."""
    bundle = gap.pack()
    envelope = Envelope.parse((bundle / "bundle.dsse.json").read_bytes(), "x")
    other = SigningKey.generate("ed25519")
    second = Envelope.sign(envelope.payload_type, envelope.payload, [other]).signatures
    signatures = (*envelope.signatures, *second)
    both = Envelope(envelope.payload_type, envelope.payload, signatures).to_bytes()
    (bundle / "bundle.dsse.json").write_bytes(both)
    (bundle / API.layers[0].path).write_bytes(b"damaged")
    gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick)
    assert (bundle / "bundle.dsse.json").read_bytes() == both
    assert len(list((bundle / "sig").iterdir())) == 2
    gap.offline("verify", bundle)


def test_a_source_that_no_longer_gives_the_bytes(gap: Gap) -> None:
    """The bundle on the medium is damaged, and the source is gone bad too: nothing half-right stays sealed."""
    bundle = gap.pack()
    layer = API.layers[0].path
    for folder in (bundle, gap.folder / "source"):
        raw = (folder / layer).read_bytes()
        (folder / layer).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick, code=12)
    assert "wrong digest" in done.err
    assert not (bundle / "bundle.dsse.json").exists()
    assert gap.online.ended() == ("pack", "refused", 12)
    assert "not a finished bundle" in gap.offline("verify", bundle, code=19).err


def test_a_failing_image_leaves_the_others_fetched(gap: Gap) -> None:
    third = simple_image("third")
    path = gap.layout(**BOTH, third=third)
    for image in (API, WEB):
        (gap.folder / "source" / image.layers[0].path).write_bytes(b"short")
    done = gap.online("pack", path, "--to", gap.stick, code=3)
    assert "error: some images failed, got 2 of 3" in done.err
    assert "hint: run the same command again (fetched content is kept)" in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("failed: example.com/")]) == 2
    assert gap.online.ended() == ("pack", "partial", 3)
    kept = files_of(gap.stick / "stack-0001")
    assert third.layers[0].path in kept
    assert "bundle.dsse.json" not in kept


def test_the_only_failure_is_reported_as_itself(gap: Gap) -> None:
    path = gap.layout(**BOTH)
    (gap.folder / "source" / API.layers[0].path).write_bytes(b"short")
    done = gap.online("pack", path, "--to", gap.stick, code=12)
    assert "wrong size" in done.err
    assert WEB.layers[0].path in files_of(gap.stick / "stack-0001")


def test_what_cannot_fit_is_refused_before_the_first_download(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = gap.layout(**BOTH)
    tight(monkeypatch, 1000)
    done = gap.online("pack", path, "--to", gap.stick, code=11)
    assert f"the bundle does not fit: {gap.stick}, want 4," in done.err
    assert "got 1,000" in done.err
    assert not gap.stick.exists()
    assert gap.online.ended() == ("pack", "failed", 11)


def test_a_full_medium_is_one_failure_for_all_images(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gap.layout(**BOTH)

    def full(_fd: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("airgap.bundle.blob_files.write_all", full)
        done = gap.online("pack", path, "--to", gap.stick, code=11)
    assert "No space left on device" in done.err
    assert "hint: free some space" in done.err
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("verify", gap.stick / "stack-0001")


def test_a_strangers_bundle_is_not_touched(gap: Gap, fresh: Side) -> None:
    bundle = gap.pack()
    before = files_of(bundle)
    fresh("init", "--owner", "bob", "--site", "lab")
    done = fresh("pack", gap.folder / "stack.yaml", "--to", gap.stick, code=2)
    assert f"another bundle is at this path: {bundle}" in done.err
    assert files_of(bundle) == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--key", "nobody"), 13, "nobody"),
        (("--key", "../site"), 2, "not a key name"),
        (("--days", "0"), 2, "--days"),
        (("--jobs", "0"), 2, "--jobs"),
        (("--passphrase-file", "wrong"), 13, "cannot decrypt the key file"),
    ],
)
def test_pack_refuses(gap: Gap, tmp_path: Path, words: tuple[str, ...], code: int, message: str) -> None:
    (tmp_path / "wrong").write_text("not it\n")
    given = [str(tmp_path / word) if word == "wrong" else word for word in words]
    done = gap.online("pack", gap.layout(api=API), "--to", gap.stick, *given, code=code)
    assert message in done.err
    assert not gap.stick.exists()


def test_a_key_without_the_role_may_not_sign(gap: Gap) -> None:
    gap.online("key", "generate", "bob")
    path = gap.layout(api=API)
    done = gap.online("pack", path, "--to", gap.stick, "--key", "bob", code=13)
    assert "this key may not sign bundles" in done.err
    gap.online("pack", path, "--to", gap.stick)  # the one that may


def test_pack_needs_a_root_of_its_own(gap: Gap) -> None:
    """A site that only receives has no signing key."""
    done = gap.offline("pack", gap.layout(api=API), "--to", gap.stick, code=13)
    assert "no signing key here" in done.err


def test_what_the_operator_states_is_signed_and_recorded(gap: Gap) -> None:
    gap.layout(api=API)
    head = "destinations: [plant-7]\ntransfer: {ticket: CHG-1, approver: bob}\n"
    path = gap.manifest("{oci: source}", head=head)
    gap.online("pack", path, "--to", gap.stick)
    shown = gap.offline("inspect", gap.stick / "stack-0001", "--json").json
    assert shown["transfer"] == {"ticket": "CHG-1", "approver": "bob"}
    assert shown["destinations"] == ["plant-7"]
    assert gap.online.records()[-2]["transfer"] == ["ticket=CHG-1", "approver=bob"]


def test_an_unwritable_ledger_stops_everything(gap: Gap) -> None:
    ledger = gap.online.home / "ledger.jsonl"
    ledger.unlink()
    ledger.mkdir()
    done = gap.online("pack", gap.layout(api=API), "--to", gap.stick, code=17)
    assert "cannot write the ledger" in done.err
    assert not gap.stick.exists()
