"""What the commands of the offline side share: the site, and the question for the next volume."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.cli.opening import open_site
from airgap.errors import UsageError, printable
from airgap.hiding import LOGIN_HINT, has_secret

if TYPE_CHECKING:
    from airgap.carry.operator import Operator, Wanted
    from airgap.carry.receive import Received


def make_operator(
    jobs: int,
    *,
    quiet: bool,
    allow_system: bool = False,
    read_back: bool | None = None,
    accept_jump: bool = False,
) -> "Operator":
    """This site, now; a person is asked for volumes when there is one at a terminal."""
    from airgap.carry.operator import Operator, never_ask

    ask = next_volume if sys.stdin and sys.stdin.isatty() else never_ask
    progress = console.make_progress(quiet=quiet)
    here = open_site()
    return Operator(here.site, here.now, progress, jobs, ask, allow_system, accept_jump, read_back)


def next_volume(wanted: "Wanted") -> Path | None:
    """Where the volume is that a person has put in; None when the answer is the end of the input.

    Enter alone means the place where the last volume was. The folder above the volume's own will do:
    that is mostly where the medium is mounted.
    """
    name = f"{wanted.title}.v{wanted.number}"
    guess = wanted.near / name
    sys.stderr.write(
        printable(
            f"put in volume {wanted.number} of {wanted.of} of {wanted.title}, then press Enter ({guess}),"
        )
        + "\nor type the path of its folder: "
    )
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        return None
    if has_secret(line):
        raise UsageError("a password or token in the answer", want="the path of a folder", hint=LOGIN_HINT)
    answer = Path(os.path.expanduser(line.strip())) if line.strip() else guess  # noqa: PTH111 - without an error
    return answer / name if (answer / name).is_dir() else answer


def received_value(found: "Received") -> dict[str, Any]:
    """The JSON of a copy."""
    return {
        "bundle": str(found.paths[0]),
        "volumes": [str(path) for path in found.paths],
        "statement_sha256": found.bundle.statement_sha256,
        "bytes": found.bundle.statement.total_bytes,
        "blobs_written": found.written,
        **console.proof_value(found.proof),
    }


def received_lines(found: "Received") -> list[str]:
    """A copy, for people."""
    statement = found.bundle.statement
    written = "1 blob written" if found.written == 1 else f"{found.written} blobs written"
    if not found.written:
        written = "every blob was there already, and right"
    figures = f"{console.size(statement.total_bytes)}, {written}"
    lines = console.bundle_lines("complete", statement.title, found.paths, figures)
    return lines + console.proof_lines(found.proof)
