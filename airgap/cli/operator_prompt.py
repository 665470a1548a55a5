"""Opens the site for commands that read bundles, and asks for the next volume."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgap.cli import console, progress_output
from airgap.cli.opening import open_site
from airgap.cli.options import MediaWriting, Output
from airgap.errors import UsageError, printable
from airgap.hiding import LOGIN_HINT, has_secret

if TYPE_CHECKING:
    from airgap.carry.operator import Operator, Wanted
    from airgap.carry.receive import Received


def make_operator(
    jobs: int, output: Output, media: MediaWriting | None = None, *, accept_jump: bool = False
) -> "Operator":
    """Return this site, the time, and the operator, who is asked for missing volumes if there is a terminal.

    Args:
        jobs: The number of files to process at a time.
        output: The options about progress.
        media: How media are written; None for a command that writes none.
        accept_jump: Whether to accept a serial far above the last one.
    """
    from airgap.carry.operator import Operator, never_ask

    media = media or MediaWriting()
    ask = next_volume if sys.stdin and sys.stdin.isatty() else never_ask
    progress = progress_output.make_progress(quiet=output.quiet)
    checked = open_site()
    return Operator(
        site=checked.site, now=checked.now, progress=progress, jobs=jobs, ask=ask,
        allow_system=media.allow_system_disk, accept_jump=accept_jump, read_back=media.read_back,
    )  # fmt: skip


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


def received_value(received: "Received") -> dict[str, Any]:
    """Return the JSON of a copy."""
    return {
        "bundle": str(received.paths[0]),
        "volumes": [str(path) for path in received.paths],
        "statement_sha256": received.bundle.statement_sha256,
        "sender_name": received.bundle.sender or None,
        "bytes": received.bundle.statement.total_bytes,
        "blobs_written": received.written,
        **received.proof.record(),
    }


def received_lines(received: "Received") -> list[str]:
    """Return lines about a copy."""
    statement = received.bundle.statement
    written = "1 blob written" if received.written == 1 else f"{received.written} blobs written"
    if not received.written:
        written = "every blob was there already, and correct"
    figures = f"{console.size(statement.total_bytes)}, {written}"
    title = statement.title + console.of_sender(received.bundle.sender)
    lines = console.bundle_lines("complete", title, received.paths, figures)
    return lines + console.proof_lines(received.proof)
