"""Runs the program `helm`, which renders charts; the only module that does.

Helm gets a list of arguments, no cluster, and only files below the given folders; its output is read up to a
limit.
"""

import logging
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airgap.discover.limits import HELM_SECONDS
from airgap.errors import EndpointError, UnavailableError, describe_cause, printable
from airgap.limits import MAX_DEPLOYMENT_FILE_BYTES

log = logging.getLogger(__name__)

_RELEASE = "release-name"
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG")


def find_helm() -> Path | None:
    """Return the program on PATH; None if it is not installed."""
    found = shutil.which("helm")
    return Path(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmProgram:
    """The program, and how long it may run."""

    path: Path
    seconds: float = HELM_SECONDS
    max_bytes: int = MAX_DEPLOYMENT_FILE_BYTES

    def render(self, chart: Path, values_files: Sequence[Path], values: Sequence[str]) -> str:
        """Return the objects of a chart, each after a comment with the template that it comes from.

        Args:
            chart: The folder or archive of the chart.
            values_files: Files with values, in the order in which Helm reads them.
            values: Values as `helm --set` takes them.

        Raises:
            EndpointError: Helm cannot render the chart, or its output is too large.
            UnavailableError: Helm cannot be started, or does not end in time.
        """
        files = [f"--values={path.resolve()}" for path in values_files]
        argv = [
            str(self.path), "template", _RELEASE, str(chart.resolve()), "--skip-tests",
            *files, *(f"--set={value}" for value in values),
        ]  # fmt: skip
        log.info("running helm template %s", printable(chart))
        out, complaint, code = self._run(argv)
        if code:
            got = printable(_last_line(complaint) or f"exit status {code}")
            raise EndpointError("helm cannot render the chart", subject=chart, got=got[:500])
        return out.decode("utf-8", "replace")

    def _run(self, argv: Sequence[str]) -> tuple[bytes, bytes, int]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment = {**kept, "KUBECONFIG": os.devnull}
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise UnavailableError(
                "helm cannot be started", subject=self.path, got=describe_cause(error)
            ) from error
        with process:
            try:
                out, complaint = self._read(process)
                return out, complaint, process.wait(self.seconds)
            except subprocess.TimeoutExpired as error:
                raise self._too_slow() from error
            finally:
                process.kill()

    def _read(self, process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
        """Return both outputs, as they come, so that neither pipe blocks."""
        if process.stdout is None or process.stderr is None:
            raise AssertionError("opened as pipes")
        outputs: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        opened = set(outputs)
        end = time.monotonic() + self.seconds
        while opened:
            ready, _, _ = select.select(list(opened), [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise self._too_slow()
            for pipe in ready:
                piece = os.read(pipe.fileno(), 1 << 16)
                outputs[pipe] += piece
                if not piece:
                    opened.remove(pipe)
            if sum(map(len, outputs.values())) > self.max_bytes:
                want = f"at most {self.max_bytes:,} bytes"
                raise EndpointError("the output of helm is too large", subject=self.path, want=want)
        return bytes(outputs[process.stdout]), bytes(outputs[process.stderr])

    def _too_slow(self) -> UnavailableError:
        return UnavailableError(
            "helm does not end", subject=self.path, want=f"within {self.seconds:g} seconds"
        )


def _last_line(text: bytes) -> str:
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return next(
        (line for line in lines if line.startswith("Error:")), lines[-1] if lines else ""
    ).removeprefix("Error: ")
