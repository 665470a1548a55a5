"""Commands that look at a bundle: inspect and verify."""

import base64
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle.files import Folder
from airgap.carry import verify_recorded as session
from airgap.errors import UnavailableError
from airgap.oci.strict_json import dump
from airgap.offline.load_bundle import LoadReport
from airgap.offline.loader import FAILED, LOADED, LoadedImage
from airgap.site import Site
from tests.cli.conftest import Gap, Side
from tests.cli.sources import API, NAMES, WEB
from tests.support.damage import flip
from tests.support.images import Image

# -- inspect


def test_inspect_shows_what_is_claimed(gap: Gap) -> None:
    bundle = gap.pack()
    shown = gap.offline("inspect", bundle, "--json").json
    assert (shown["stream"], shown["serial"], shown["sender"]) == ("stack", 1, "hq")
    assert shown["owners"] == ["alice"]
    assert [image["as"] for image in shown["images"]] == NAMES
    assert shown["refusal"] is None
    lines = gap.offline("inspect", bundle).out.splitlines()
    assert lines[0].startswith("stack-0001 (epoch 1), made ")
    assert lines[-1] == f"statement sha256 {shown['statement_sha256']}"
    assert gap.offline.records()[-1]["event"] == "trust-change"  # looking is not recorded


def test_inspect_reads_no_blob(gap: Gap) -> None:
    bundle = gap.pack()
    shutil.rmtree(bundle / "blobs")
    gap.offline("inspect", bundle)


def test_inspect_tells_of_a_refusal(gap: Gap) -> None:
    path = gap.layout(api=API)
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    gap.online("pack", path, "--to", gap.stick)
    bundle = gap.stick / "stack-0001"
    refusal = "the bundle is for another site: stack-0001, want lab, got plant-7"
    assert gap.offline("inspect", bundle, "--json").json["refusal"] == refusal
    assert gap.offline("inspect", bundle).out.endswith(f"this site would refuse it: {refusal}\n")
    for command in (("verify", bundle), ("load", bundle, "--to", f"oci:{gap.folder}/out")):
        assert refusal in gap.offline(*command, code=15).err
        assert gap.offline.ended() == (command[0], "refused", 15)
    assert not (gap.folder / "out").exists()


def test_inspect_shows_an_unknown_bundle_and_says_that_nobody_vouches(gap: Gap, fresh: Side) -> None:
    """Before any trust root is installed, and where another sender's is."""
    bundle = gap.pack()
    fingerprint = gap.online("trust", "show", "--json").json["fingerprint"]
    fresh.home.with_name("other").mkdir()
    other = Side(fresh.home.with_name("other"), fresh.capture)
    other("init", "--owner", "mallory", "--site", "elsewhere")
    for side, reason, options in (
        (fresh, "no trust root is installed here", "--site NAME"),
        (other, "not signed by a key that has", "--sender NAME --names PATTERN"),
    ):
        done = side("inspect", bundle, code=13)
        assert done.out.startswith("NOBODY VOUCHES FOR THIS BUNDLE")
        assert "example.com/api:1" in done.out
        assert "signed by" not in done.out
        assert fingerprint not in done.out + done.err  # it must come by another way
        assert f"error: {reason}" in done.err
        assert f"airgap trust install {bundle} {options}`" in done.err
        shown = side("inspect", bundle, "--json", code=13).json
        assert (shown["vouched"], shown["owners"], shown["keys"]) == (False, [], [])
        assert shown["error"]["exit_code"] == 13
    assert not fresh.home.exists()  # looking makes no site
    known = gap.offline("inspect", bundle, "--json").json
    assert (known["vouched"], known["error"]) == (True, None)


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("statement.json", b"{}", 12, "not the statement that was signed"),
        ("bundle.dsse.json", b"{}", 10, "bundle.dsse.json"),
        ("bundle.dsse.json", b'{"payload":"","payloadType":"x","signatures":[]}\n', 13, "no signature"),
        ("bundle.dsse.json", b"[" * 100_000, 10, "bundle.dsse.json"),
        ("bundle.dsse.json", None, 19, "not a finished bundle"),
    ],
)
def test_inspect_reads_an_unknown_bundle_as_strictly(
    gap: Gap, fresh: Side, name: str, content: bytes | None, code: int, message: str
) -> None:
    bundle = gap.pack()
    if content is None:
        (bundle / name).unlink()
    else:
        (bundle / name).write_bytes(content)
    done = fresh("inspect", bundle, code=code)
    assert message in done.err
    assert "NOBODY" not in done.out


def test_inspect_shows_no_changed_bundle_of_a_known_sender(gap: Gap) -> None:
    bundle = gap.pack()
    envelope = bundle / "bundle.dsse.json"
    parsed = json.loads(envelope.read_bytes())
    parsed["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    envelope.write_bytes(dump(parsed) + b"\n")
    done = gap.offline("inspect", bundle, code=13)
    assert "a signature does not match the signed bytes" in done.err
    assert done.out == ""


# -- verify


def test_verify_is_recorded(gap: Gap) -> None:
    bundle = gap.pack()
    done = gap.offline("verify", bundle, "--json")
    [value] = done.json["bundles"]
    assert (value["owners"], value["repeat"], value["missed"]) == (["alice"], False, 0)
    assert gap.offline.ended() == ("verify", "ok", 0)
    assert "good: stack-0001, signed by alice, 12 files" in gap.offline("verify", bundle).out


def test_verify_takes_several(gap: Gap) -> None:
    first = gap.pack()
    path = gap.folder / "stack.yaml"
    for serial in (2, 3):
        path.write_text(path.read_text() + f"# {serial}\n")
        gap.online("pack", path, "--to", gap.stick)
    third = gap.stick / "stack-0003"
    done = gap.offline("verify", first, third, "--json")
    assert [value["bundle"] for value in done.json["bundles"]] == [str(first), str(third)]
    gap.offline("load", first, "--to", f"oci:{gap.folder}/out")
    lines = gap.offline("verify", first, third).out.splitlines()
    assert lines[0].endswith(", accepted here before")
    assert lines[1].endswith(", stack-0002 never arrived here")


def test_verify_tells_of_every_wrong_blob(gap: Gap) -> None:
    bundle = gap.pack()
    for image in (API, WEB):
        flip(bundle / image.layers[0].path)
    done = gap.offline("verify", bundle, code=12)
    assert sum("wrong digest" in line for line in done.err.splitlines()) == 2
    assert f"error: the bundle is damaged: {bundle}, got 2 wrong blobs" in done.err
    assert gap.offline.ended() == ("verify", "refused", 12)


def _remove(path: Path) -> None:
    path.unlink()


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _doubled(path: Path) -> None:
    (path.parent / f"{path.name}.bak").write_bytes(b"")


WRONG = {
    "missing": (_remove, "layers", "the files are not those that the statement lists: .*, got 2 missing"),
    "unlisted": (_doubled, "small", "the files are not those that the statement lists: .*, got 2 unlisted"),
    "shorter": (_shorten, "layers", "the bundle is damaged: .*, got 2 wrong sizes"),
    "small files": (flip, "small", "the bundle is damaged: .*, got 2 wrong files"),
    "blobs": (flip, "layers", "the bundle is damaged: .*, got 2 wrong blobs"),
}


@pytest.mark.parametrize(("harm", "what", "message"), WRONG.values(), ids=WRONG)
def test_verify_lists_all_that_is_wrong_of_one_kind(gap: Gap, harm: Any, what: str, message: str) -> None:
    bundle = gap.pack()
    names = {"layers": [image.layers[0].path for image in (API, WEB)], "small": ["index.json", "VERIFY.txt"]}
    for name in names[what]:
        harm(bundle / name)
    done = gap.offline("verify", bundle, "--json", code=12)
    error = done.json["error"]
    assert re.fullmatch(message, error["message"])
    assert error["wrong_count"] == len(error["wrong"]) == 2
    for name in names[what]:
        assert sum(name in line for line in error["wrong"]) == 1
        assert sum(name in line for line in done.err.splitlines() if line.startswith("wrong: ")) == 1


def test_verify_with_json_answers_an_error_in_json(gap: Gap) -> None:
    bundle = gap.pack()
    flip(bundle / API.layers[0].path)
    error = gap.offline("verify", bundle, "--json", code=12).json["error"]
    assert set(error) == {"kind", "message", "hint", "exit_code", "wrong", "wrong_count"}
    assert (error["kind"], error["exit_code"]) == ("DigestMismatchError", 12)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("bundle.dsse.json", 10, "bundle.dsse.json"),
        ("statement.json", 12, "not the statement that was signed"),
        ("SHA256SUMS", 12, "wrong digest"),
        ("index.json", 12, "wrong digest"),
        ("manifest.json", 12, "wrong digest"),
        ("VERIFY.txt", 12, "wrong digest"),
        ("oci-layout", 12, "wrong digest"),
        ("trust/1.root.json", 12, "wrong digest"),
        (API.descriptor.digest.path, 12, "wrong digest"),
        (API.layers[0].path, 12, "wrong digest"),
    ],
)
@pytest.mark.parametrize("command", ["verify", "load"])
def test_a_flipped_bit_is_found(gap: Gap, command: str, name: str, code: int, message: str) -> None:
    bundle = gap.pack()
    flip(bundle / name)
    out = gap.folder / "out"
    words = ("--to", f"oci:{out}") if command == "load" else ()
    # A layer is only read when it is loaded: then one image fails, and the other one is fine.
    partly = command == "load" and name == API.layers[0].path
    done = gap.offline(command, bundle, *words, code=3 if partly else code)
    assert message in done.err + done.out
    assert gap.offline.ended()[2] == (3 if partly else code)
    assert out.exists() == partly
    assert "Traceback" not in done.err


@pytest.mark.parametrize("images", [(API,), (API, WEB)])
def test_a_damaged_bundle_is_mended_and_not_loaded_again(gap: Gap, images: tuple[Image, ...]) -> None:
    bundle = gap.pack()
    copy = shutil.copytree(bundle, gap.folder / "copy")
    for image in images:
        flip(bundle / image.layers[0].path)
    words = ("load", bundle, "--to", f"oci:{gap.folder}/out", "--json")
    error = gap.offline(*words, code=3 if images == (API,) else 12).json["error"]
    assert error["hint"].startswith("write the damaged files again with `airgap repair` from another copy")
    gap.offline("repair", bundle, "--from", copy)
    gap.offline(*words)


def test_other_failures_are_loaded_again(gap: Gap) -> None:
    bundle = gap.pack()
    with Folder(bundle) as folder:
        found = session.verify_here(folder, Site(gap.offline.home), datetime.now(UTC))
    api, web = (LoadedImage(image, LOADED) for image in found.images)
    api.verdict, api.error = FAILED, UnavailableError("busy")
    failure = LoadReport(found, (api, web), bundle).failure
    assert failure is not None
    assert failure.hint == "see the reasons above; run the same command again for the rest"


@pytest.mark.parametrize("name", ["bundle.dsse.json", "index.json", "SHA256SUMS", API.layers[0].path])
def test_a_missing_file_is_found(gap: Gap, name: str) -> None:
    bundle = gap.pack()
    (bundle / name).unlink()
    done = gap.offline("verify", bundle, code=19 if name == "bundle.dsse.json" else 12)
    assert "airgap repair" in done.err.split("hint: ")[1]


@pytest.mark.parametrize("name", [".DS_Store", "blobs/._sha256", "System Volume Information/"])
def test_what_a_desktop_leaves_is_to_be_removed(gap: Gap, name: str) -> None:
    bundle = gap.pack()
    stray = bundle / name
    if name.endswith("/"):
        stray.mkdir()
    else:
        stray.touch()
    done = gap.offline("verify", bundle, code=12)
    kind = "folder" if name.endswith("/") else "file"
    assert f"error: {kind} that the statement does not list: {stray}\n" in done.err
    assert "hint: only listed files are allowed; desktops add others" in done.err


def test_what_is_no_bundle(gap: Gap) -> None:
    before = gap.offline.records()
    for words in (("verify",), ("verify", "--media"), ("inspect",), ("serve", "--port", "0")):
        done = gap.offline(*words, gap.folder / "nowhere", code=2)
        assert f"error: no such file or folder: {gap.folder}/nowhere\nhint: check the spelling" in done.err
    assert gap.offline.records() == before
    assert "not a finished bundle" in gap.offline("verify", gap.folder, code=19).err


def test_a_bundle_of_strangers(gap: Gap, fresh: Side) -> None:
    made = fresh("init", "--owner", "mallory", "--site", "hq", "--json").json
    other = Gap(gap.folder, fresh, gap.offline)
    bundle = other.pack()
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", code=13)
    assert made["keyid"][:16] in done.err or "not signed by a key" in done.err
    assert not (gap.folder / "out").exists()
    assert not (gap.offline.home / "received").exists()


def test_an_expired_bundle(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gap.pack("--days", "1")
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    monkeypatch.setattr("airgap.site.now", lambda: later)
    assert "the bundle has expired" in gap.offline("verify", bundle, code=14).err


def test_the_way_back_to_an_older_bundle(gap: Gap) -> None:
    old = gap.pack()
    path = gap.folder / "stack.yaml"
    before = path.read_text()
    path.write_text(before + "# 2\n")
    gap.online("pack", path, "--to", gap.stick)
    to = ("--to", f"oci:{gap.folder}/out")
    gap.offline("load", gap.stick / "stack-0002", *to)
    done = gap.offline("load", old, *to, code=14)
    refusal = "stack-0001, want serial 2 again, or a later one, in epoch 1, got serial 1 in epoch 1"
    assert (
        f"error: older than the last accepted bundle: {refusal}\nhint: to go back, pack the old " in done.err
    )
    gap.offline("verify", "--media", old)
    gap.offline("load", gap.stick / "stack-0002", *to)
    path.write_text(before)
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0003", *to)


def test_verify_reads_no_pipe(gap: Gap) -> None:
    done = gap.offline("verify", "-", code=2)
    assert done.err.startswith(
        "error: verify cannot read from a pipe, want a folder or a tar\nhint: write it to a file"
    )


def test_what_is_wrong_with_a_pipe_names_the_pipe(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gap.folder / "words.txt"
    file.write_text("this is neither a folder nor a tar\n" * 100)
    with file.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        done = gap.offline("load", "-", "--to", "oci:out", "-q", code=19)
    error, _ = done.err.splitlines()
    assert error == "error: not the whole tar of a bundle: standard input, got not a tar header"


def test_without_a_standard_input(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a supervisor that closes it: nothing is asked, and nothing is a defect."""
    bundle = gap.pack()
    monkeypatch.setattr("sys.stdin", None)
    gap.offline("verify", bundle)
    gap.offline("trust", "install", gap.online.home / "trust" / "1.root.json")
    assert "standard input is closed" in gap.offline("load", "-", "--to", "oci:out", code=2).err
    monkeypatch.delenv("AIRGAP_PASSPHRASE")
    assert "no passphrase" in gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick, code=13).err
