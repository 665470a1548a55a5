"""What it means that a bundle is refused: an answer, a record of it, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from airgap.cli.main import main
from tests.support.bundles import (
    Gap,
)


def at_home(sealed: Gap, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Gap:
    """A copy to spoil, and the program at home on the receiving side."""
    found = sealed.copy(folder / "gap")
    monkeypatch.setenv("AIRGAP_HOME", str(found.home))
    return found


def snapshot(gap: Gap) -> dict[str, bytes]:
    """Everything that must not change: all but the ledger, and the trust roots that the bundle brings."""
    paths = (path for path in gap.folder.rglob("*") if path.name != "ledger.jsonl" and not path.is_symlink())
    brought = {gap.home / "trust" / path.name for path in (gap.bundle / "trust").glob("*")}
    kept = brought - {gap.home / "trust" / "1.root.json"}
    return {str(path): path.read_bytes() for path in paths if path.is_file() and path not in kept}


def records(gap: Gap) -> list[dict[str, Any]]:
    """All but those of trust roots that a bundle brought: they are kept, though it is refused."""
    found = [json.loads(line) for line in gap.site.ledger_path.read_bytes().splitlines()]
    return [record for record in found if record.get("change") != "brought by a bundle"]


def check_refused(gap: Gap, capsys: pytest.CaptureFixture[str], code: int, error: str) -> None:
    """Neither command takes the bundle; both say why, and leave a record and nothing else."""
    target = gap.folder / "target"
    before, count = snapshot(gap), len(records(gap))
    for event, words in (("verify", ()), ("load", ("--to", f"oci:{target}"))):
        capsys.readouterr()
        assert main([event, str(gap.bundle), *words, "--quiet"]) == code
        out, err = capsys.readouterr()
        assert out == ""
        check_words(err, error)
        begin, end = records(gap)[count:]
        count += 2
        assert (begin["event"], begin["phase"]) == (event, "begin")
        assert (end["event"], end["phase"], end["begin"]) == (event, "end", begin["seq"])
        assert end["exit_code"] == code
        assert end["result"] == ("failed" if code in (11, 19) else "refused")
        assert end["error"] in err
    assert not target.exists()
    assert snapshot(gap) == before


def check_words(err: str, error: str) -> None:
    each = ("failed: ", "wrong: ")  # of several, before the error that there are
    first, *rest = (line for line in err.splitlines() if not line.startswith(each))
    assert first.startswith("error: ")
    assert error in err
    assert "unexpected" not in first or "unexpected value" in first or "unexpected payload" in first
    assert len(rest) <= 1
    assert all(line.startswith("hint: ") for line in rest)
    assert err.replace("\n", "").isprintable()
