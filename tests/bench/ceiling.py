"""What Python can do at most when it only hashes: `python -m tests.bench.ceiling SHA256SUMS`, in two threads."""

import hashlib
import sys
import threading
from pathlib import Path

THREADS = 2
_CHUNK = 1 << 20


def main(sums: Path) -> None:
    """Hash every file that `sums` lists, the largest first; exit 1 when one is wrong."""
    listed = [line.split("  ", 1) for line in sums.read_text().splitlines()]
    waiting = sorted(listed, key=lambda item: (sums.parent / item[1]).stat().st_size)
    wrong: list[str] = []

    def work() -> None:
        while True:
            try:
                want, name = waiting.pop()
            except IndexError:
                return
            if _sum(sums.parent / name) != want:
                wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(bool(wrong))


def _sum(path: Path) -> str:
    buffer = memoryview(bytearray(_CHUNK))
    sum_ = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            sum_.update(buffer[:got])
    return sum_.hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
