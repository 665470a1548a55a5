"""Gives files to targets, with 256 MB of memory beside what the program needs for itself.

python -m tests.fuzz.replay FOLDER      FOLDER/json/* to the target json, and so on
"""

import resource
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

MAX_MEMORY = 256 << 20


def replay(folder: Path) -> int:
    """How many files there were. Whatever a target lets out comes out, `MemoryError` as well."""
    files = [file for path in sorted(folder.iterdir()) if path.is_dir() for file in sorted(path.iterdir())]
    for file in files:
        raw = file.read_bytes()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        limit = pages * resource.getpagesize() + MAX_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        TARGETS[file.parent.name](raw)
    return len(files)


if __name__ == "__main__":
    print(replay(Path(sys.argv[1])))
