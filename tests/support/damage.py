"""Damage to a file, as media do it."""

from pathlib import Path


def flip(path: Path, at: int = 0) -> None:
    """Change a bit in place, counted from the end if `at` is negative: the file stays the same one."""
    with path.open("r+b") as file:
        file.seek(at, 0 if at >= 0 else 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
