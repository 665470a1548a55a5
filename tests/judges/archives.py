"""Tar archives that are changed at random, and what airgap reads of each, for three judges to compare.

    python -m tests.judges.archives 400000 7 [FILE…]    mutants from seed 7, of these archives too

prints how many archives airgap accepts, and each one that GNU tar, Python's tarfile or Go's archive/tar reads
otherwise or refuses.
"""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.tar_entries import read_entries
from airgap.errors import FormatError
from tests.judges.documents import build
from tests.judges.tar_mutants import mutants
from tests.judges.tar_seeds import seeds
from tests.support.parts import require_tool

SOURCE = Path(__file__).with_name("archives.go")
BATCH = 20_000
_LISTED = re.compile(
    rb'(.)[^ ]{9,10} +[^ ]+ +([0-9]+) -?[0-9-]+(?: [0-9:.]+)? +("(?:\\.|[^"\\])*")(?: (?:->|link to) ("(?:\\.|[^"\\])*"))?'
)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

Reading = tuple[tuple[str, str, int, str, str], ...] | str
"""Name, kind, size, link target and SHA-256 of the data of each entry; or why there is none."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An archive that a judge reads otherwise."""

    judge: str
    raw: bytes
    ours: Reading
    theirs: Reading


def reading(raw: bytes) -> Reading:
    """What airgap reads."""
    try:
        return tuple(
            (entry.name, entry.kind, entry.size, entry.target, hashlib.sha256(data.read()).hexdigest())
            for entry, data in read_entries(io.BytesIO(raw))
        )
    except FormatError as error:
        return f"refused: {error}"


def by_python(raw: bytes) -> Reading:
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:", encoding="utf-8") as archive:
            return _normal((m.name, m.type.decode(), m.size, m.linkname, _data(archive, m)) for m in archive)
    except (tarfile.TarError, OSError, UnicodeError, RecursionError, AttributeError) as error:
        return f"refused: {error}"


def by_go(program: Path, archives: Sequence[bytes]) -> list[Reading]:
    lines = b"".join(base64.b64encode(raw) + b"\n" for raw in archives)
    answer = subprocess.run([program], input=lines, capture_output=True, check=True, timeout=3600)
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    return [entries if isinstance(entries, str) else _normal(entries) for entries in found]


def by_gnu(raw: bytes, empty: Path) -> tuple[Reading, bytes]:
    """The entries without sums, and the data of all files; nothing is written to a disk."""
    argv = [
        "tar", "-xOvv", "--full-time", "--utc", "--numeric-owner", "--quoting-style=c", "-C", str(empty), "-f", "-",
    ]  # fmt: skip
    done = subprocess.run(argv, input=raw, capture_output=True, check=False, timeout=60, env={"LC_ALL": "C"})
    lines = done.stderr.splitlines()
    listed = [match for line in lines if (match := _LISTED.fullmatch(line))]
    said = [line.decode() for line in lines if not _LISTED.fullmatch(line) and not _is_harmless(line)]
    if done.returncode or said:
        return f"refused: {said}", b""
    kinds = {b"-": "0", b"d": "5", b"l": "2", b"h": "1"}
    found = [
        (_plain(m[3]), kinds.get(m[1], "?"), int(m[2]) if m[1] == b"-" else 0, _plain(m[4] or b'""'), "")
        for m in listed
    ]
    return _normal(found), done.stdout


def differences(
    program: Path, archives: Iterable[bytes], gnu: int | None = None
) -> tuple[int, list[Difference]]:
    """How many archives airgap accepts, and those that a judge reads otherwise. GNU tar costs a process each:
    only the first `gnu` are given to it.
    """
    accepted = [(raw, ours) for raw in archives if not isinstance(ours := reading(raw), str) and ours]
    theirs = by_go(program, [raw for raw, _ in accepted])
    found = [
        Difference("Go", raw, ours, other)
        for (raw, ours), other in zip(accepted, theirs, strict=True)
        if ours != other
    ]
    found += [
        Difference("Python", raw, ours, other) for raw, ours in accepted if (other := by_python(raw)) != ours
    ]
    with tempfile.TemporaryDirectory() as folder:
        for raw, ours in accepted[:gnu]:
            other, data = by_gnu(raw, Path(folder))
            if other != tuple((*entry[:4], "") for entry in ours) or data != _contents(raw):
                found.append(Difference("GNU tar", raw, ours, other))
        assert not list(Path(folder).iterdir())
    return len(accepted), found


def _contents(raw: bytes) -> bytes:
    return b"".join(data.read() for _, data in read_entries(io.BytesIO(raw)))


def _data(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member) if member.isreg() else None
    data = content.read() if content else b""
    if len(data) != (member.size if member.isreg() else 0):
        raise tarfile.ReadError("short data")
    return data


def _normal(entries: Iterable[Sequence[object]]) -> Reading:
    """In airgap's spelling: without the top directory, and targets for links only."""
    found: list[tuple[str, str, int, str, str]] = []
    for name, flag, size, target, data in entries:
        kind = {"0": "file", "\0": "file", "5": "directory", "1": "hardlink", "2": "symlink"}.get(
            str(flag), f"?{flag}"
        )
        plain = str(name).removeprefix("./")
        plain = plain.removesuffix("/") if kind == "directory" else plain
        if kind == "directory" and plain in ("", "."):
            continue
        digest = hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else str(data)
        assert isinstance(size, int)
        found.append((plain, kind, size, str(target) if "link" in kind else "", digest))
    return tuple(found)


def _plain(quoted: bytes) -> str:
    def unescaped(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8)]) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(unescaped, quoted[1:-1]).decode(errors="replace")


def _is_harmless(line: bytes) -> bool:
    return b"A lone zero block at" in line or b"Ignoring unknown extended header keyword" in line


def main(count: int, seed: int, files: Sequence[str]) -> int:
    """Compare in batches; the exit code is 1 when a reading differs."""
    accepted, found = 0, list[Difference]()
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder), SOURCE)
        made = [*seeds(program), *(Path(file).read_bytes() for file in files)]
        for number, start in enumerate(range(0, count, BATCH)):
            batch = mutants(made, min(BATCH, count - start), seed * 1_000_003 + number)
            taken, different = differences(program, batch)
            accepted, found = accepted + taken, found + different
            print(f"{start + BATCH:,}: {accepted:,} accepted, {len(found):,} read otherwise", flush=True)
            for each in different[:5]:
                print(each.judge, base64.b64encode(each.raw), each.ours, each.theirs, sep="\n  ")
    print(f"{count:,} archives from seed {seed}: {accepted:,} accepted, {len(found):,} read otherwise")
    return 1 if found else 0


if __name__ == "__main__":
    require_tool("tar")
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
