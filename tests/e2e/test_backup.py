"""A backup is an age file around a tar: stock `age` and `tar` read it, and restore reads what `age` wrote."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from airgap.trust.age import decrypt
from tests.e2e.airgap import PASSPHRASE, environment, make_gap
from tests.support.parts import require_tool

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def stock_age() -> None:
    require_tool("age")


def age(*words: object, answers: int = 1) -> None:
    """Run stock `age` on a terminal, because it takes passphrases from nowhere else."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("age", ["age", *map(str, words)])
    shown, given = b"", 0
    while True:
        try:
            chunk = os.read(terminal, 1024)
        except OSError:  # the terminal's other side was closed
            break
        if not chunk:
            break
        shown += chunk
        if given < answers and shown.count(b"passphrase") > given:
            os.write(terminal, PASSPHRASE.encode() + b"\n")
            given += 1
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown


def test_stock_tools_list_a_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with environment(AIRGAP_HOME="", AIRGAP_PASSPHRASE=PASSPHRASE):
        make_gap(tmp_path, capsys).online("backup", tmp_path / "hq.age")
    age("-d", "-o", tmp_path / "hq.tar", tmp_path / "hq.age")
    listed = subprocess.run(["tar", "-tf", tmp_path / "hq.tar"], capture_output=True, text=True, check=True)
    assert {"ledger.jsonl", "site.json", "site.key", "trust/1.root.json"} <= set(listed.stdout.split())


@pytest.mark.parametrize("size", [1, 65_536, 200_000])
def test_what_age_wrote_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "plain").write_bytes(b"x" * size)
    age("-p", "-o", tmp_path / "theirs.age", tmp_path / "plain", answers=2)
    with (tmp_path / "theirs.age").open("rb") as file:
        assert b"".join(decrypt(file.read, PASSPHRASE.encode, "theirs.age")) == b"x" * size
