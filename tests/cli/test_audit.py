"""audit and receipt: what both sides can tell of what was carried, and who cannot fool them."""

import csv
import io
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap.audit.ledger import Ledger
from airgap.oci.strict_json import dump
from airgap.site import Site
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot
from tests.cli.conftest import PASSPHRASE, Gap, Side
from tests.support.bundles import sign_root
from tests.support.images import simple_image
from tests.unit.review.conftest import knows

API, WEB = simple_image("api"), simple_image("web")


def introduce(gap: Gap) -> None:
    """Let the sending side's trust root know the receiving site."""
    site, other = Site(gap.online.home), Site(gap.offline.home)
    key = site.signing_key(None, PASSPHRASE.encode)
    site.install_root(
        SignedRoot.parse(sign_root(knows(site.root().root, ("plant-7", other.key)), key), "root")
    )


def carried(gap: Gap, name: str = "stack-0001") -> Path:
    """Load a bundle, and bring its receipt back."""
    done = gap.offline("load", gap.stick / name, "--to", f"oci:{gap.folder}/out", "--json")
    return Path(shutil.copy(done.json["receipt"], gap.folder / f"{name}.receipt.json"))


@pytest.fixture
def answered(gap: Gap) -> tuple[Gap, Path]:
    introduce(gap)
    path = gap.manifest(
        "{oci: source, ref: example.com/api:1}",
        "{oci: source, ref: example.com/web:1}",
        head="destinations: [plant-7]\ntransfer: {ticket: CHG-7}\n",
    )
    text = path.read_text()
    gap.layout(api=API, web=WEB)
    path.write_text(text)
    gap.online("pack", path, "--to", gap.stick)
    return gap, carried(gap)


# -- receipts


def test_a_receipt_closes_the_way(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    assert "waiting: 0 of 1 answered; missing: plant-7" in gap.online("audit", "report").out
    done = gap.online("receipt", "import", receipt)
    assert done.out == f"imported: stack-0001 at plant-7, oci:{gap.folder}/out: ok\n"
    assert gap.online.ended() == ("receipt", "ok", 0)
    [sent] = gap.online("audit", "report", "--json").json["sent"]
    assert (sent["state"], sent["missing"], sent["transfer"]) == ("received", [], {"ticket": "CHG-7"})
    assert gap.online("receipt", "import", receipt).out.startswith("known: ")
    assert len(gap.online("audit", "report", "--json").json["sent"][0]["receipts"]) == 1


def test_a_receipt_of_an_unknown_site(gap: Gap) -> None:
    gap.pack()
    receipt = carried(gap)
    done = gap.online("receipt", "import", receipt, code=13)
    assert "not signed by a key that has the role receipt in trust root 1" in done.err
    assert "hint: the trust root must name the receiving site's key" in done.err
    assert gap.online.ended() == ("receipt", "refused", 13)


def test_a_receipt_for_what_was_not_sealed_here(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    for path in (gap.online.home / "sent" / "stack").iterdir():
        path.unlink()
    done = gap.online("receipt", "import", receipt, "--json", code=13)
    [value] = done.json["receipts"]
    assert "was sealed here" in value["alarms"][0]
    assert Path(value["kept"]).read_bytes() == receipt.read_bytes()
    told = gap.online("audit", "report")
    assert "alarm: plant-7: no bundle stack-0001" in told.out


def test_a_changed_receipt(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    value = json.loads(receipt.read_bytes())
    value["payload"] = value["payload"].replace("A", "B", 1)
    receipt.write_bytes(dump(value) + b"\n")
    for side, verb in ((gap.online, "import"), (gap.offline, "show")):
        assert side("receipt", verb, receipt, code=13).out == ""


def test_receipts_from_nowhere(gap: Gap, fresh: Side) -> None:
    assert "there is no site here yet" in fresh("receipt", "show", "x", code=2).err
    gap.online("receipt", "import", gap.folder / "none", code=2)
    gap.online("receipt", "import", gap.folder, code=2)


def test_show_a_receipt_at_both_sides(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    here, there = gap.offline("receipt", "show", receipt), gap.online("receipt", "show", receipt)
    assert here.out == there.out
    lines = here.out.splitlines()
    assert lines[0] == f"stack-0001 at plant-7, oci:{gap.folder}/out: ok"
    assert lines[2].startswith("signed by plant-7; statement sha256 ")
    assert [line.split()[:2] for line in lines[4:]] == [
        ["example.com/api:1", "loaded"], ["example.com/web:1", "loaded"],
    ]  # fmt: skip


def test_show_a_receipt_that_somebody_else_signed(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    thief = SigningKey.generate()
    site = Site(gap.offline.home)
    (site.home / "site.key").unlink()
    thief.save(site.home / "site.key", None)
    gap.offline("load", gap.stick / "stack-0001", "--to", f"oci:{gap.folder}/two")
    forged = max(site.kept_receipts())
    assert "not signed by a key" in gap.online("receipt", "show", forged, code=13).err
    assert gap.online("receipt", "show", receipt).code == 0


# -- find, show, export


def test_find_tells_where_an_image_went(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    gap.online("receipt", "import", receipt)
    found = gap.online("audit", "find", API.descriptor.digest.hex[:12], "--json").json["found"]
    assert {(f["site"], f["event"], f["bundle"], f["reference"]) for f in found} == {
        ("hq", "pack", "stack-0001", "example.com/api:1"),
        ("plant-7", "load", "stack-0001", "example.com/api:1"),
        ("hq", "receipt", "stack-0001", "example.com/api:1"),
    }
    assert [f["where"] for f in found if f["event"] == "load"] == [f"oci:{gap.folder}/out"]
    for what in ("CHG-7", "stack-0001", "plant-7"):
        events = {match["event"] for match in gap.online("audit", "find", what, "--json").json["found"]}
        assert events == {"pack", "load", "receipt"}, what
    events = {match["event"] for match in gap.online("audit", "find", "alice", "--json").json["found"]}
    assert "pack" in events  # signed by her
    none = gap.online("audit", "find", "nobody/knows", code=4)
    assert (none.out, none.err) == ("no entries match nobody/knows\n", "")
    assert gap.online("audit", "find", "nobody/knows", "--json", code=4).json == {"found": []}
    assert "too short" in gap.online("audit", "find", "a", code=2).err


def test_find_a_layer(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    for side, result in ((gap.online, "sealed"), (gap.offline, "held")):
        [found] = side("audit", "find", API.layers[0], "--json").json["found"]
        assert (found["result"], found["bundle"], found["reference"]) == (result, "stack-0001", "a blob")


def test_show_one_entry(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    seq = gap.offline("audit", "log", "--event", "load", "--json").json["entries"][0]["seq"]
    out = gap.offline("audit", "show", seq).out
    assert f"target: oci:{gap.folder}/out\n" in out
    assert "    verdict: loaded\n" in out
    assert gap.offline("audit", "show", seq, "--json").json["details"]["checks"]["owners"] == ["alice"]
    assert "no such entry" in gap.offline("audit", "show", 99, code=2).err


def test_export_as_csv(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    rows = list(csv.DictReader(io.StringIO(gap.offline("audit", "export").out)))
    loads = [row for row in rows if row["event"] == "load"]
    assert [(row["reference"], row["verdict"], row["bundle"]) for row in loads] == [
        ("example.com/api:1", "loaded", "stack-0001"), ("example.com/web:1", "loaded", "stack-0001"),
    ]  # fmt: skip


def test_export_into_a_file_for_spreadsheets(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    path = gap.folder / "transfers.csv"
    done = gap.online("audit", "export", "--out", path)
    assert done.out == f"written: {path}\n"
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfseq,time_utc,")
    rows = [row for row in csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))) if row["event"] == "pack"]
    assert [
        (row["reference"], row["ticket"], row["signer"], row["platform"], row["site"]) for row in rows
    ] == [(f"example.com/{name}:1", "CHG-7", "alice", "linux/amd64", "hq") for name in ("api", "web")]
    datetime.strptime(rows[0]["time_utc"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    value = gap.offline("audit", "export", "--out", path, "--json").json
    assert value["written"] == str(path)
    assert "load" in {entry["event"] for entry in value["entries"]}
    loads = [
        row for row in csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))) if row["event"] == "load"
    ]
    assert [(row["ticket"], row["signer"], row["platform"]) for row in loads] == [
        ("CHG-7", "alice", "linux/amd64")
    ] * 2
    assert (
        "error: " in gap.online("audit", "export", "--out", gap.folder / "stack.yaml" / "x.csv", code=11).err
    )


# -- report


def test_a_report_of_each_side(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    (gap.stick / "stack-0001" / "index.json").unlink()
    gap.offline("verify", gap.stick / "stack-0001", code=12)
    there = gap.offline("audit", "report")
    assert "compared with 1 signed checkpoint in" in there.out
    assert [line.split()[0] for line in there.out.split("loaded here:\n")[1].splitlines()[:2]] == [
        "BUNDLE", "stack-0001",
    ]  # fmt: skip
    assert "verify" in there.out.split("refused, failed, unfinished, overridden:\n")[1]
    assert "alarm: " in there.out
    assert "loaded 1, refused 1, alarms 1\n" in there.out
    value = gap.offline("audit", "report", "--json").json
    assert (value["counts"]["alarms"], len(value["alarms"])) == (1, 1)
    here = gap.online("audit", "report", "--overdue", "3")
    assert "ticket: CHG-7" in here.out
    assert (
        "sealed 1, confirmed 0, waiting 1, superseded 0, overdue 0, recalled 0, loaded 0, refused 0, alarms 0\n"
        in here.out
    )


def test_a_bundle_that_a_later_one_replaced(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    text = (gap.folder / "stack.yaml").read_text()
    gap.layout(api=simple_image("newer"), web=WEB)
    (gap.folder / "stack.yaml").write_text(text)
    gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick)
    gap.online("receipt", "import", carried(gap, "stack-0002"))
    sent = gap.online("audit", "report", "--json").json["sent"]
    assert [(one["state"], one["missing"]) for one in sent] == [("superseded", []), ("received", [])]
    assert sent[0]["recipients"] == [
        {"site": "plant-7", "standing": "superseded", "superseded_by": "stack-0002"}
    ]


def test_writers_report_what_they_wrote(answered: tuple[Gap, Path]) -> None:
    """Not the copy that they read."""
    gap, _ = answered
    good, bad = gap.stick / "stack-0001", gap.folder / "copy" / "stack-0001"
    gap.online("repack", good, "--to", gap.folder / "copy")
    (bad / "index.json").write_bytes(b"{}")
    assert str(bad) in gap.online("repair", bad, "--from", good).out
    gap.offline("receive", good, "--into", gap.folder / "in")
    written = [
        entry["where"]
        for entry in gap.online("audit", "log", "--event", "media-write", "--json").json["entries"]
    ]
    assert written == [str(gap.folder / "copy"), str(bad)]
    [received] = gap.offline("audit", "log", "--event", "receive", "--json").json["entries"]
    assert received["where"] == str(gap.folder / "in")


def test_a_report_on_paper(answered: tuple[Gap, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gap, _ = answered
    monkeypatch.chdir(gap.folder)
    done = gap.online("audit", "report", "--html", "page.html", "--since", "2020-01-01")
    assert done.out.endswith("\nwritten: page.html\n")
    page = (gap.folder / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "0 of 1 answered; missing: plant-7" in page
    assert "CHG-7" in page
    missing = gap.online("audit", "report", "--html", gap.folder / "stack.yaml" / "x.html", code=11)
    assert "error: " in missing.err
    assert "--since" in gap.online("audit", "report", "--since", "yesterday", code=2).err


def test_no_report_of_a_ledger_that_is_not_whole(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    path = gap.offline.home / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    for words in (("report",), ("verify",), ("verify", receipt)):
        done = gap.offline("audit", *words, code=17)
        assert "the ledger was cut" in done.err
    shutil.rmtree(gap.offline.home / "receipts")  # who cuts the ledger, cuts what tells of it
    gap.offline("audit", "verify")
    assert "the ledger was cut" in gap.offline("audit", "verify", receipt, code=17).err


def test_a_bundle_is_a_witness_for_its_sender(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    assert gap.online("audit", "verify", gap.stick / "stack-0001", "--json").json["witnesses"] == 2
    assert "no such file" in gap.online("audit", "verify", gap.folder / "none", code=2).err


# -- log


def test_the_log_tells_where_and_why(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    bundle = gap.stick / "stack-0001"
    (bundle / "stray").write_bytes(b"")
    gap.offline("verify", bundle, code=12)
    *_, verify = gap.offline("audit", "log").out.splitlines()
    _, load = gap.offline("audit", "log", "--event", "load").out.splitlines()
    assert load.split()[-1] == f"oci:{gap.folder}/out"
    assert str(bundle) in verify
    assert "file that the statement does not list: " in verify
    assert verify.endswith("/stray")  # all of it: this is not a terminal
    entry = gap.offline("audit", "log", "--json").json["entries"][-1]
    assert (entry["where"], entry["details"]["path"]) == (str(bundle), str(bundle))
    assert entry["reason"].endswith("/stray")
    sealed = gap.online("audit", "log", "--event", "pack", "--json").json["entries"][0]
    assert sealed["where"] == str(bundle)


def test_the_log_is_of_a_ledger_that_is_whole(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    path = gap.offline.home / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"user":"', b'"user":"x', 1))
    done = gap.offline("audit", "log", code=17)
    assert "load" in done.out
    assert "broken chain" in done.err


def test_the_log_of_what_there_is_not(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    done = gap.offline("audit", "log", "--event", "Load", code=2)
    assert "no such event, want pack, sign, " in done.err
    assert gap.offline("audit", "log", "--stream", "none").out == "no entries match\n"
    [entry] = gap.offline("audit", "log", "--stream", "stack-0001", "--json").json["entries"]
    assert entry["event"] == "load"


def test_a_clock_that_was_set_back(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    site = Site(gap.offline.home)
    early = datetime(2020, 1, 1, tzinfo=UTC)
    Ledger(site.ledger_path, site=site.name, clock=lambda: early).append("note", "note")
    told = gap.offline("audit", "verify").out
    last = len(gap.offline.records())
    assert f"earlier than the line before (the clock was set back): line {last}\n" in told


def test_what_could_tell_of_a_cut_cannot_be_read(answered: tuple[Gap, Path]) -> None:
    gap, _ = answered
    for path in (gap.offline.home / "receipts").iterdir():
        path.write_bytes(b"{}")
    done = gap.offline("audit", "verify", code=17)
    assert "cannot be read, and so was not compared: " in done.out
    assert len(gap.offline("audit", "verify", "--json", code=17).json["unreadable"]) == 1


def test_one_receipt_that_is_refused_hides_no_other(answered: tuple[Gap, Path]) -> None:
    gap, receipt = answered
    (gap.folder / "bad").write_bytes(b"{}")
    done = gap.online("receipt", "import", gap.folder / "bad", receipt, "--json", code=3)
    [value] = done.json["receipts"]
    assert (value["receipt"], value["fresh"]) == (str(receipt), True)
    assert list(done.json["error"]["failures"]) == [str(gap.folder / "bad")]
    assert "error: some receipts were refused, got 1 of 2" in done.err
