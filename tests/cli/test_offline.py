"""inspect, verify, load and audit: from a bundle to images, a receipt and a ledger."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry import verify_recorded as session
from airgap.cli import console
from airgap.endpoints.server import ImageServer
from airgap.errors import UnavailableError
from airgap.offline import load_bundle as load_module
from airgap.offline.load_bundle import LoadReport
from airgap.offline.loader import FAILED, LOADED, LoadedImage
from airgap.site import Site
from airgap.trust.envelope import Envelope
from tests.cli.conftest import Gap, Side, files_of
from tests.support.daemon import Daemon
from tests.support.images import Image, simple_image, write_layout

API, WEB = simple_image("api"), simple_image("web")
NAMES = ["example.com/api:1", "example.com/web:1"]


def changed(path: Path, offset: int = 0) -> None:
    """Flip a bit, and keep the file's times as a thief would."""
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


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
        changed(bundle / image.layers[0].path)
    done = gap.offline("verify", bundle, code=12)
    assert sum("wrong digest" in line for line in done.err.splitlines()) == 2
    assert f"error: the bundle is damaged: {bundle}, got 2 wrong blobs" in done.err
    assert gap.offline.ended() == ("verify", "refused", 12)


def test_verify_with_json_answers_an_error_in_json(gap: Gap) -> None:
    bundle = gap.pack()
    changed(bundle / API.layers[0].path)
    error = gap.offline("verify", bundle, "--json", code=12).json["error"]
    assert set(error) == {"kind", "message", "hint", "exit_code"}
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
    changed(bundle / name)
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
        changed(bundle / image.layers[0].path)
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


# -- a delta


def delta(gap: Gap) -> tuple[Path, str]:
    """The folder of a bundle that builds on stack-0001, and the line about that."""
    gap.pack()
    path = gap.layout(api=API, web=WEB, new=simple_image("new"))
    done = gap.online("pack", path, "--to", gap.stick, "--since", "1", "--json")
    requires = done.json["requires"]
    assert requires == {
        "count": 2,
        "bytes": sum(len(image.contents[image.layers[0]]) for image in (API, WEB)),
    }
    needs = f"needs 2 blobs ({console.size(requires['bytes'])}) that earlier bundles brought"
    assert needs in gap.online("pack", path, "--to", gap.stick, "--since", "1").out.splitlines()
    return gap.stick / "stack-0002", needs


def test_a_delta_says_so(gap: Gap) -> None:
    bundle, needs = delta(gap)
    assert needs in gap.offline("inspect", bundle).out.splitlines()
    assert gap.offline("verify", bundle).out.endswith(f"; {needs}\n")
    for shown in (
        gap.offline("inspect", bundle, "--json").json,
        gap.offline("verify", bundle, "--json").json["bundles"][0],
    ):
        assert shown["requires"]["count"] == 2
    whole = gap.stick / "stack-0001"
    assert gap.offline("inspect", whole, "--json").json["requires"] == {"count": 0, "bytes": 0}
    assert "needs" not in gap.offline("inspect", whole).out + gap.offline("verify", whole).out


def test_serve_wants_the_base_of_a_delta(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, _ = delta(gap)
    monkeypatch.setattr(ImageServer, "serve_forever", ImageServer.close)
    done = gap.offline("serve", bundle, "--port", "0", code=19)
    assert "the bundle leaves out blobs that no served bundle has: stack-0002, want sha256:" in done.err
    assert "hint: also name the bundles that are its base" in done.err
    gap.offline("serve", bundle, gap.stick / "stack-0001", "--port", "0")


# -- load


def test_load_into_a_folder(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    value = gap.offline("load", bundle, "--to", f"oci:{out}", "--json").json
    assert [(i["reference"], i["verdict"], i["before"]) for i in value["images"]] == [
        (name, "loaded", None) for name in NAMES
    ]
    assert [i["after"] for i in value["images"]] == [str(i.descriptor.digest) for i in (API, WEB)]
    assert value["error"] is None
    here = files_of(out)
    assert all(here[digest.path] == raw for digest, raw in (API.contents | WEB.contents).items())
    receipt = Envelope.parse(Path(value["receipt"]).read_bytes(), "receipt")
    assert [s["name"] for s in json.loads(receipt.payload)["subject"]][1:] == NAMES
    assert (gap.offline.home / "received" / "stack.json").exists()
    assert gap.offline.ended() == ("load", "ok", 0)


def test_loading_again_changes_nothing(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    gap.offline("load", bundle, "--to", f"oci:{out}")
    before = files_of(out)
    again = gap.offline("load", bundle, "--to", f"oci:{out}")
    assert "nothing to do: the target had everything already" in again.out
    assert again.out.count("already there") == 2
    assert files_of(out) == before


def test_load_into_an_archive(gap: Gap) -> None:
    bundle = gap.pack()
    path = gap.folder / "out.tar"
    gap.offline("load", bundle, "--to", f"archive:{path}")
    assert set(gap.online("lock", gap.manifest("{archive: out.tar}"), "--json").json["images"][0]) >= {
        "reference",
        "digest",
        "digest_kind",
    }
    changed(bundle / API.layers[0].path)
    before = path.read_bytes()
    done = gap.offline("load", bundle, "--to", f"archive:{path}", code=12)
    assert "wrong digest" in done.err
    assert path.read_bytes() == before
    assert [p.name for p in gap.folder.iterdir() if p.name.startswith("out")] == ["out.tar"]


def test_a_name_that_means_something_else(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    write_layout(out, {NAMES[0]: WEB})
    before = files_of(out)
    done = gap.offline("load", bundle, "--to", f"oci:{out}", "--on-conflict", "refuse", code=16)
    assert f"the name means another image at the target: {NAMES[0]}" in done.err
    assert files_of(out) == before
    assert not (gap.offline.home / "received").exists()
    value = gap.offline("load", bundle, "--to", f"oci:{out}", "--json").json
    assert value["images"][0]["before"] == str(WEB.descriptor.digest)
    assert value["images"][0]["after"] == str(API.descriptor.digest)


def test_a_partial_load_is_one_json_value(gap: Gap) -> None:
    bundle = gap.pack()
    changed(bundle / API.layers[0].path)
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", "--json", code=3)
    assert [image["verdict"] for image in done.json["images"]] == ["failed", "loaded"]
    assert "wrong digest" in done.json["images"][0]["error"]
    assert done.json["error"]["kind"] == "PartialError"
    assert done.json["error"]["exit_code"] == 3
    assert "error: some images were not loaded, got 1 of 2" in done.err
    assert gap.offline.ended() == ("load", "partial", 3)


def test_a_load_of_which_nothing_succeeds_says_why(gap: Gap) -> None:
    bundle = gap.pack()
    for image in (API, WEB):
        changed(bundle / image.layers[0].path)
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", code=12)
    assert "wrong digest" in done.err


@pytest.mark.parametrize("containerd", [False, True], ids=["classic", "containerd"])
def test_load_into_an_engine_that_has_it(gap: Gap, containerd: bool) -> None:
    bundle = gap.pack()
    with Daemon(gap.folder, containerd=containerd) as daemon:
        for name, image in zip(NAMES, (API, WEB), strict=True):
            image_id = str(image.descriptor.digest if containerd else image.config)
            parts = [{"Kind": "image", "Available": True}]
            daemon.images |= {key: {"Id": image_id, "Manifests": parts} for key in (name, image_id)}
        done = gap.offline("load", bundle, "--to", daemon.endpoint)
        found = gap.offline("load", bundle, "--to", daemon.endpoint, "--json").json["images"]
        assert "nothing to do" in done.out
        assert (f"image id {API.config}" in done.out) is (not containerd)
        assert ("image id: the engine's own" in done.out) is (not containerd)
        kind = "manifest" if containerd else "image_id"
        assert [image["digest_kind"] for image in found] == [kind, kind]
        assert "POST /images/load" not in daemon.calls


def test_an_engine_that_complains(gap: Gap) -> None:
    bundle = gap.pack()
    with Daemon(gap.folder) as daemon:
        daemon.load_answer = b'{"errorDetail":{"message":"no space left"},"error":"no space left"}\r\n'
        done = gap.offline("load", bundle, "--to", daemon.endpoint, code=18)
    assert "no space left" in done.err
    assert gap.offline.ended()[1:] == ("failed", 18)


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("nowhere", 2, "not a target: nowhere, want docker"),
        ("oci:", 2, "not a target"),
        ("archive:", 2, "not a target"),
        ("registry:", 2, "not a target"),
        ("ftp:host", 2, "not a target"),
        ("docker:unix:///nowhere.sock", 18, "nowhere.sock"),
        ("archive:stack.yaml/out.tar", 11, "stack.yaml"),
        ("oci:stack.yaml", 18, "stack.yaml"),
        ("registry:127.0.0.1:1", 18, "127.0.0.1:1"),
    ],
)
def test_targets_that_cannot_be(
    gap: Gap, target: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    monkeypatch.chdir(gap.folder)
    assert message in gap.offline("load", gap.pack(), "--to", target, code=code).err


def test_on_conflict_takes_two_words(gap: Gap) -> None:
    done = gap.offline("load", "x", "--to", "oci:y", "--on-conflict", "ask", code=2)
    assert "error: unknown --on-conflict, want replace or refuse, got ask" in done.err


# -- audit


def test_the_ledger_can_be_read_and_filtered(gap: Gap) -> None:
    bundle = gap.pack()
    gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out")
    gap.offline("verify", gap.folder, code=19)
    entries = gap.offline("audit", "log", "--json").json["entries"]
    assert [(e["event"], e["result"], e["exit_code"]) for e in entries] == [
        ("trust-change", "ok", 0),
        ("load", "ok", 0),
        ("verify", "failed", 19),
    ]

    def events(*words: str) -> list[str]:
        return [e["event"] for e in gap.offline("audit", "log", "--json", *words).json["entries"]]

    assert events("--event", "load") == ["load"]
    assert events("--stream", "stack") == ["load"]
    assert events("--digest", str(API.descriptor.digest)) == ["load"]
    assert events("--digest", "sha256:" + "0" * 64) == []
    assert events("--limit", "1") == ["verify"]
    lines = gap.offline("audit", "log").out.splitlines()
    assert lines[0].split() == [
        "SEQ",
        "TIME",
        "USER",
        "EVENT",
        "RESULT",
        "CODE",
        "BUNDLE",
        "IMAGES",
        "WHERE",
        "REASON",
    ]
    assert lines[2].split()[-3:] == ["stack-0001", "2", f"oci:{gap.folder}/out"]


def test_the_ledger_is_whole(gap: Gap) -> None:
    value = gap.offline("audit", "verify", "--json").json
    raw = (gap.offline.home / "ledger.jsonl").read_bytes().splitlines()
    assert value["size"] == len(raw) == 2
    assert value["head"] == hashlib.sha256(raw[-1]).hexdigest()
    assert gap.offline("audit", "verify").out.startswith("complete: 2 lines, root ")


def test_a_changed_ledger_is_found(gap: Gap) -> None:
    gap.offline("verify", gap.folder, code=19)
    path = gap.offline.home / "ledger.jsonl"
    path.write_text(path.read_text().replace("plant-7", "plant-8", 1))
    assert "line 2" in gap.offline("audit", "verify", code=17).err


def test_open_attempts_and_torn_lines_are_told(gap: Gap) -> None:
    path = gap.offline.home / "ledger.jsonl"
    gap.offline("verify", gap.folder, code=19)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # killed in the middle of the end record
    gap.offline("verify", gap.folder, code=19)
    told = gap.offline("audit", "verify").out.splitlines()
    assert told[1:] == ["started but not finished: line 3", "incomplete after a crash: line 4"]
    assert "open" in gap.offline("audit", "log").out


def test_a_ledger_that_cannot_be_written_stops_a_load(gap: Gap) -> None:
    bundle = gap.pack()
    ledger = gap.offline.home / "ledger.jsonl"
    ledger.unlink()
    os.mkfifo(ledger)
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", code=17)
    assert "ledger" in done.err
    assert not (gap.folder / "out").exists()


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


def test_what_was_loaded_before_another_bundle_is_refused_is_told(gap: Gap) -> None:
    """The receipt of the first is needed, whatever becomes of the second."""
    bundle = gap.pack()
    good = shutil.copytree(bundle, gap.folder / "good")
    changed(bundle / "index.json")
    done = gap.offline("load", good, bundle, "--to", f"oci:{gap.folder}/out", "--json", code=12)
    value = json.loads(done.out)
    [loaded] = value["bundles"]
    assert (loaded["bundle"], Path(loaded["receipt"]).exists()) == (str(good), True)
    assert value["error"]["exit_code"] == 12
    assert "error: " in done.err


def test_nothing_is_loaded_where_a_path_is_mistyped(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    done = gap.offline("load", bundle, gap.folder / "none", "--to", f"oci:{out}", "--json", code=2)
    assert done.json["error"]["exit_code"] == 2
    assert not out.exists()


def test_what_was_loaded_before_ctrl_c_is_told(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    asked = []

    def load_bundle(place: Path, *words: object, **options: object) -> object:
        asked.append(place)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return session_load(place, *words, **options)  # type: ignore[arg-type]

    session_load = load_module.load_bundle
    monkeypatch.setattr(load_module, "load_bundle", load_bundle)
    again = shutil.copytree(bundle, gap.folder / "again")
    done = gap.offline("load", bundle, again, "--to", f"oci:{out}", "--json", code=130)
    [loaded] = done.json["bundles"]
    assert loaded["bundle"] == str(bundle)
    assert (done.json["error"]["message"], done.json["error"]["exit_code"]) == (f"interrupted: {again}", 130)
    assert done.err.endswith(
        f"error: interrupted: {again}\ninterrupted; run the same command again to resume\n"
    )
    del asked[1:]
    assert gap.offline("load", again, "--to", f"oci:{out}", "--json", code=130).out == ""
