"""What long work tells the person who waits. Use-cases speak, `cli` shows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from airgap.oci.digest import Advance


class Progress(Protocol):
    """A listener; its methods may be called from several threads."""

    def phase(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """A stretch of work over `total` bytes; the caller reports bytes as they are done."""

    def note(self, text: str) -> None:
        """One line worth knowing."""


class Silent:
    """Listens to nothing."""

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:  # noqa: ARG002
        """Ignore it."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Ignore it."""
