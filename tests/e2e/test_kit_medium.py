"""A kit of stand-ins on a real medium: named, read back past the cache, and recorded."""

import sys
from pathlib import Path

import pytest

from airgap.bundle import check_written as proof
from tests.e2e.airgap import Side
from tests.support.kits import write_stand_ins
from tests.support.media import Disk, ext4_disk, require_media


def make(hq: Side, wheels: Path, disk: Disk, *, code: int = 0):
    words = ("--to", disk.mount_point, "--python", f"3.{sys.version_info[1]}", "--wheels", wheels)
    return hq("kit", *words, code=code)


def test_on_a_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    require_media()
    hq, wheels = Side(tmp_path / "hq", capsys), write_stand_ins(tmp_path / "wheels")
    hq("init", "--owner", "alice", "--site", "hq")
    with ext4_disk(tmp_path / "media") as disk:
        made = make(hq, wheels, disk)
        assert made.json["read_back"] == "ok"
        [medium] = made.json["media"]
        assert (medium["file_system"], medium["source"]) == ("ext4", disk.device)
        assert f" free at {disk.mount_point}\n" in made.err
        kit = Path(made.json["kit"])
        content = next(kit.glob("wheels/airgap-*")).read_bytes()
        real = proof.read_back

        def read_back(*words):
            disk.harm(content[-200:])
            return real(*words)

        monkeypatch.setattr(proof, "read_back", read_back)
        assert "the medium does not hold what was written" in make(hq, wheels, disk, code=12).err
        assert not (kit / "kit.dsse.json").exists()
