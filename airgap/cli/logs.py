"""Logs to standard error for `-v` and `-vv`, without secrets and control characters."""

import logging
import platform

from airgap import __version__
from airgap.cli import console
from airgap.errors import printable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Formatter(logging.Formatter):
    """Masks logins in each line, also in those of tracebacks and other packages."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Handler(logging.Handler):
    """Writes to standard error; a failure to write does not end the command."""

    def emit(self, record: logging.LogRecord) -> None:
        console.say(f"{self.format(record)}\n")


def start_logging(verbosity: int) -> None:
    """Start to log.

    Args:
        verbosity: 1 logs what airgap does (INFO); 2 or more also logs details (DEBUG) of airgap and of the
            packages that it uses.
    """
    handler = _Handler()
    handler.setFormatter(_Formatter(_FORMAT))
    details = verbosity > 1
    logger = logging.getLogger() if details else logging.getLogger("airgap")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if details else logging.INFO)
    logging.getLogger(__name__).info("airgap %s, Python %s", __version__, platform.python_version())
