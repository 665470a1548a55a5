"""The program in a process of its own, as a user starts it."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.waits import GENEROUS

RUN = [sys.executable, "-m", "airgap"]
PATIENCE = GENEROUS


@contextlib.contextmanager
def started(home: Path, *words: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own, which is gone afterwards."""
    env = {**os.environ, "AIRGAP_HOME": str(home)}
    process = subprocess.Popen([*RUN, *map(str, words)], env=env, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


def shell(home: Path, command: str) -> subprocess.CompletedProcess[bytes]:
    """A command with redirections."""
    env = {**os.environ, "AIRGAP_HOME": str(home)}
    line = f"exec {shlex.join(RUN)} {command}"
    return subprocess.run(["sh", "-c", line], env=env, capture_output=True, check=False, timeout=PATIENCE)
