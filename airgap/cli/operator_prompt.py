"""Opens the site for commands that read bundles, and asks for the next volume."""

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
    """Return this site and the time. Missing volumes are asked for if stdin is a terminal."""
    from airgap.carry.operator import Operator, never_ask

    ask = next_volume if sys.stdin and sys.stdin.isatty() else never_ask
    progress = console.make_progress(quiet=quiet)
    checked = open_site()
    return Operator(
        site=checked.site,
        now=checked.now,
        progress=progress,
        jobs=jobs,
        ask=ask,
        allow_system=allow_system,
        accept_jump=accept_jump,
        read_back=read_back,
    )


def next_volume(wanted: "Wanted") -> Path | None:
    """Ask a person to insert a volume, and return its folder; None at the end of the input.

    Enter alone means the folder of the last volume. The parent of the volume's folder is accepted too: the
    medium is usually mounted there.
    """
    name = f"{wanted.title}.v{wanted.number}"
    guess = wanted.near / name
    sys.stderr.write(
        printable(
            f"insert volume {wanted.number} of {wanted.of} of {wanted.title}, then press Enter ({guess}),"
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
    """Return the JSON of a copy."""
    return {
        "bundle": str(found.paths[0]),
        "volumes": [str(path) for path in found.paths],
        "statement_sha256": found.bundle.statement_sha256,
        "bytes": found.bundle.statement.total_bytes,
        "blobs_written": found.written,
        **console.proof_value(found.proof),
    }


def received_lines(found: "Received") -> list[str]:
    """Return lines about a copy."""
    statement = found.bundle.statement
    written = "1 blob written" if found.written == 1 else f"{found.written} blobs written"
    if not found.written:
        written = "every blob was there already, and correct"
    figures = f"{console.size(statement.total_bytes)}, {written}"
    lines = console.bundle_lines("complete", statement.title, found.paths, figures)
    return lines + console.proof_lines(found.proof)
