"""Searches for input that a target does not refuse as it should, guided by coverage (libFuzzer, through atheris).

    python -m pip install .[fuzz]
    python -m tests.fuzz json 600 WORK      600 seconds of one target; new inputs go to WORK/json
    python -m tests.fuzz all 600 WORK       600 seconds of each

It stops at a foreign exception, after 2 seconds of work on one input, and at 256 MB more than at the start; libFuzzer
prints the input's file and figures. `tests/test_fuzz_corpus.py` replays the kept corpus.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
MAX_SECONDS = 2
MAX_MEMORY = 256
"""Mebibytes beside what the process needs for itself."""


def search(name: str, seconds: int, work: Path) -> None:
    """Ends the process, with 0 when nothing was found."""
    import atheris

    with atheris.instrument_imports(include=["airgap"]):
        from tests.fuzz.targets import TARGETS
    own, kept = work / name, CORPUS / name
    own.mkdir(parents=True, exist_ok=True)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    options = [
        f"-max_total_time={seconds}",
        "-max_len=65536",
        f"-timeout={30 * MAX_SECONDS}",
        f"-rss_limit_mb={used + MAX_MEMORY}",
        f"-artifact_prefix={work}/{name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([name, *options, str(own), *([str(kept)] if kept.is_dir() else [])], _timed(TARGETS[name]))
    atheris.Fuzz()


def _timed(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """By the processor's clock: libFuzzer's own limit takes a busy machine for a hang."""

    def run(raw: bytes) -> None:
        start = time.process_time()
        target(raw)
        assert time.process_time() - start < MAX_SECONDS, "a hang"

    return run


def main(name: str, seconds: int, work: Path) -> int:
    if name != "all":
        search(name, seconds, work)
    from tests.fuzz.targets import TARGETS

    argv = [sys.executable, "-m", "tests.fuzz"]
    ended = [subprocess.run([*argv, each, str(seconds), work], check=False).returncode for each in TARGETS]
    return int(any(ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
