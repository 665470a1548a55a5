"""The ledger of the receiving side: read, checked, and damaged."""

import hashlib
import os

from tests.cli.conftest import Gap
from tests.cli.sources import API

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
    assert events("--limit", "2") == ["load", "verify"]
    assert events("--limit", "9") == events()
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
