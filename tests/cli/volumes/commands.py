"""What the tests of volumes do with three volumes and a whole copy of one bundle."""

import io
import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Done, Gap, Side, files_of
from tests.support.cut import BIG, IMAGES, MEDIA, TITLE, volumes

NAMES = list(IMAGES)
ORDERS = [(1, 2, 3), (3, 2, 1), (2, 3, 1)]
PROOF = {"media", "read_back"}


def media_of(gap: Gap) -> list[object]:
    """The options of `pack` that name the three media."""
    return [word for name in MEDIA for word in ("--to", gap.folder / name)]


def whole_of(gap: Gap) -> Path:
    return gap.folder / "whole" / TITLE


def some(gap: Gap, *numbers: int) -> list[Path]:
    """Volumes by number."""
    return [volumes(gap.folder)[number - 1] for number in numbers]


def other_bundle(gap: Gap) -> list[Path]:
    """The next bundle of the stream, on two volumes."""
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# the next one\n")
    words = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", "8MB", "--json")
    return list(map(Path, gap.online("pack", path, *words).json["volumes"]))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def loaded(folder: Path) -> None:
    """All images are in this OCI folder, byte for byte."""
    here = files_of(folder)
    for image in IMAGES.values():
        assert all(here[digest.path] == raw for digest, raw in image.contents.items())
    index = json.loads(here["index.json"])
    assert [e["annotations"]["io.containerd.image.name"] for e in index["manifests"]] == NAMES


Harm = Callable[[Path], None]
PART = f"{BIG.path}.001"
"""On the second volume."""


def table_of(change: Callable[[bytes], bytes]) -> Harm:
    def harm(volume: Path) -> None:
        path = volume / "volume.json"
        path.write_bytes(change(path.read_bytes()))

    return harm


class Terminal(io.StringIO):
    """A person who answers, in this order; a function is what they do before they press Enter."""

    def __init__(self, *answers: str | Callable[[], object]) -> None:
        super().__init__()
        self._answers = list(answers)

    def isatty(self) -> bool:
        return True

    def readline(self, _: int = -1) -> str:
        if not self._answers:
            return ""
        answer = self._answers.pop(0)
        if isinstance(answer, str):
            return f"{answer}\n"
        answer()
        return "\n"


def questions(done: Done) -> list[str]:
    """The volumes that were asked for, in order."""
    lines = [line for line in done.err.splitlines() if "insert volume " in line]
    return [line.partition("insert volume ")[2].split()[0] for line in lines]


def receive(gap: Gap, *numbers: int, code: int = 0) -> Done:
    return gap.offline("receive", *some(gap, *numbers), "--into", gap.folder / "x", code=code)


def repacked(gap: Gap, sources: list[Path], *words: object) -> list[Path]:
    value = gap.offline("repack", *sources, *words, "--json").json
    assert (
        value.keys()
        == {"bundle", "volumes", "statement_sha256", "sender_name", "bytes", "blobs_written"} | PROOF
    )
    assert gap.offline.ended() == ("media-write", "ok", 0)
    return list(map(Path, value["volumes"]))


def repair_command(gap: Gap) -> tuple[Side, list[object]]:
    return gap.offline, ["repair", *some(gap, 2, 3, 1), "--from", whole_of(gap)]


def repair(gap: Gap) -> None:
    side, words = repair_command(gap)
    side(*words)
