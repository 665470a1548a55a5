"""Progress reports of long work. Use cases report; `cli` shows the reports."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from airgap.oci.digest import Advance


class Progress(Protocol):
    """Receives progress reports; its methods may be called from several threads."""

    def phase(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a phase of work on `total` bytes; the caller reports the bytes as they are processed."""

    def note(self, text: str) -> None:
        """Report one line of information."""


class Silent:
    """Ignores all reports."""

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:  # noqa: ARG002
        """Ignore it."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Ignore it."""
