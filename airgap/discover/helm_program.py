"""Runs the program `helm`, which renders charts; the only module that does.

Helm gets a list of arguments, no cluster, and only files below the given folders; its output is read up to a
limit.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from airgap.discover.limits import HELM_SECONDS
from airgap.errors import EndpointError, printable
from airgap.limits import MAX_DEPLOYMENT_FILE_BYTES
from airgap.programs import Program, last_line
from airgap.values import dataclass

log = logging.getLogger(__name__)

_RELEASE = "release-name"


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
        program = Program(title="helm", argv=argv, seconds=self.seconds, max_bytes=self.max_bytes)
        finished = program.run(variables={"KUBECONFIG": os.devnull})
        if finished.code:
            got = printable(_last_line(finished.complaint) or f"exit status {finished.code}")
            raise EndpointError("helm cannot render the chart", subject=chart, got=got[:500])
        return finished.output.decode("utf-8", "replace")


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").splitlines()
    complaint = next((line for line in lines if line.startswith("Error:")), last_line(text))
    return complaint.removeprefix("Error: ")
