"""Help, the version, logs and completion: what is asked of airgap itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap import __version__
from airgap.bundle.mounts import Mount
from airgap.cli import complete
from tests.cli.conftest import Gap, Side
from tests.support.parts import require_tool


@pytest.mark.parametrize("words", [(), ("pack",), ("trust",), ("trust", "add"), ("kit", "verify")])
def test_help_is_shown_for_each_word(fresh: Side, words: tuple[str, ...]) -> None:
    shown = fresh(*words, "--help").out
    assert shown.startswith(f"Usage: {' '.join(('airgap', *words))} ")
    assert "-h, --help" in shown
    assert fresh(*words, "-h").out == shown
    assert fresh("help", *words).out == shown


def test_help_for_an_unknown_command(fresh: Side) -> None:
    done = fresh("help", "nonsense", code=2)
    assert done.err == "error: no such command 'nonsense'\nhint: airgap --help\n"


def test_the_version(fresh: Side) -> None:
    assert fresh("version").out == fresh("--version").out == f"airgap {__version__}\n"
    shown = fresh("version", "--json").json
    assert (shown["version"], shown["json_version"]) == (__version__, 1)


def test_a_log_goes_to_standard_error(gap: Gap) -> None:
    command = [sys.executable, "-m", "airgap", "-v", "trust", "show", "--json"]
    env = {**os.environ, "AIRGAP_HOME": str(gap.offline.home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == gap.offline("trust", "show", "--json").out
    assert f" INFO airgap.cli.logs: airgap {__version__}" in done.stderr


def completed(gap: Gap, line: str) -> list[str]:
    """What bash suggests for the last word of `line`, with the script of --show-completion."""
    words = line.split(" ")
    program = gap.folder / "bin" / "airgap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m airgap "$@"\n')
    program.chmod(0o755)
    script = f"""
eval "$(airgap --show-completion bash)"
COMP_WORDS=({" ".join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1}
_airgap_completion airgap
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{program.parent}:{os.environ['PATH']}"
    env = {**os.environ, "AIRGAP_HOME": str(gap.online.home), "PATH": path}
    done = subprocess.run(
        [require_tool("bash"), "-c", script], env=env, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("airgap re", ["recall", "receive", "repack", "repair", "restore", "receipt"]),
        ("airgap trust ro", ["rotate"]),
        ("airgap load bundle --to do", ["docker"]),
        ("airgap sign bundle --key ", ["alice"]),
        ("airgap load /med", []),  # the shell completes file names
    ],
)
def test_bash_completes(gap: Gap, line: str, words: list[str]) -> None:
    assert completed(gap, line) == words


def test_mounted_media_are_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [("/", "ext4"), ("/mnt/b", "ext4"), ("/media/alice/MY STICK", "vfat"), ("/mnt/share", "nfs4")]
    monkeypatch.setattr(
        "airgap.bundle.mounts.read_mounts",
        lambda _: [
            Mount(
                number=n,
                parent=1,
                device="8:1",
                mount_point=Path(point),
                file_system=kind,
                source="x",
                read_only=False,
            )
            for n, (point, kind) in enumerate(points, 1)
        ],
    )
    assert complete.media("") == ["/media/alice/MY STICK", "/mnt/b"]
    assert complete.media("/mnt") == ["/mnt/b"]
