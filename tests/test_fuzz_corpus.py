"""Inputs that a coverage-guided search has kept, and the largest that parsers take: refused in our words, in bounds."""

import subprocess
import sys
from pathlib import Path

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS

SIZES = {"documents": 4, "statement": 12, "volumes": 16}
"""Mebibytes that each takes; the others are read in the same way."""
SHAPES = {
    "empty lists": b"[],",
    "empty objects": b"{},",
    "texts": b'"",',
    "just few enough": b'{"name":"0123456789012345678"},',
    "lists in lists": b"[",
    "a long number": b"9",
    "escapes": b'"\\u0001\\u0001\\u0001\\u0001",',
}


def replay(folder: Path, before: str = "") -> tuple[str, str]:
    """In a process of its own, whose memory has a limit; what it prints."""
    code = f"from pathlib import Path\nfrom tests.fuzz import replay\n{before}\nprint(replay.replay(Path({str(folder)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def test_what_was_kept() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == TARGETS.keys()
    assert replay(CORPUS) == (f"{sum(1 for _ in CORPUS.glob('*/*'))}\n", "")


def test_the_largest_documents(tmp_path: Path) -> None:
    for name, size in SIZES.items():
        (tmp_path / name).mkdir()
        for shape, value in SHAPES.items():
            raw = b'{"a":[' + value * (((size << 20) - 64) // len(value)) + b"0]}"
            (tmp_path / name / shape).write_bytes(raw)
    assert replay(tmp_path) == (f"{len(SIZES) * len(SHAPES)}\n", "")


def test_what_a_target_lets_out_is_seen(tmp_path: Path) -> None:
    """The limit of memory is one, too."""
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "x").write_bytes(b"{}")
    assert replay(tmp_path) == ("1\n", "")
    greedy = "replay.TARGETS['json'] = lambda raw: bytes(2 * replay.MAX_MEMORY)"
    assert replay(tmp_path, greedy)[1].endswith("MemoryError\n")
