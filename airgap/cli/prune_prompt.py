"""The options of `load --prune`: what a load will remove is shown first, and confirmed."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.errors import UsageError, printable
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.endpoints.ports import Target
    from airgap.offline.prune import Confirm, Pruning

Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="After the load, remove at the target what earlier bundles of the stream brought there and this "
        "one does not list. airgap shows it first, and asks.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove what --prune shows without asking.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneChoice:
    """Whether a load removes the names that the stream no longer has."""

    prune: Prune = False
    yes: Yes = False

    def check(self, target: "Target", *, back: bool) -> None:
        """Raise `UsageError`, before anything is loaded, if the options do not go together."""
        from airgap.endpoints.ports import FileTarget

        if self.yes and not self.prune:
            raise UsageError("--yes is only for --prune", want="--prune --yes")
        if self.prune and back:
            raise UsageError("--prune excludes --back", want="--prune with the newest bundle")
        if self.prune and isinstance(target, FileTarget):
            want = "a target that keeps the images of earlier loads"
            raise UsageError("--prune is not for an archive", subject=target.name, want=want)

    def confirm(self) -> "Confirm | None":
        """Return the function that shows what is removed and asks for confirmation; None without --prune."""
        return self._ask if self.prune else None

    def _ask(self, pruning: "Pruning") -> None:
        for name in pruning.remove:
            line = f"to remove at {pruning.target.name}: {name.reference} (from {name.title})"
            console.say(f"{printable(line)}\n")
        if not self.yes:
            _ask_person(len(pruning.remove), pruning.target.name)


def _ask_person(count: int, target: str) -> None:
    """Ask whether to remove the names.

    Raises:
        UsageError: Nobody can be asked.
        KeyboardInterrupt: The answer is no.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        hint = "read what would be removed; then load with --prune --yes. Nothing was changed"
        raise UsageError("--yes is missing", want="a terminal, or --yes", hint=hint)
    names = "1 name" if count == 1 else f"{count} names"
    try:
        agrees = typer.confirm(f"Load, and then remove {names} at {target}?", err=True)
    except typer.Abort:
        agrees = False
    if not agrees:
        raise KeyboardInterrupt


def pruned_value(pruning: "Pruning | None") -> dict[str, Any]:
    """Return the JSON of a pruning, or of a load without one."""
    pruned, kept = (pruning.pruned, pruning.kept) if pruning else ([], [])
    return {
        "pruned": [{"reference": str(name.reference), "digest": str(name.digest)} for name in pruned],
        "not_pruned": [{"reference": str(name.reference), "reason": name.reason} for name in kept],
    }


def pruned_lines(pruning: "Pruning") -> list[str]:
    """Return lines about a pruning; none if there was nothing to remove."""
    return [
        *(f"removed: {name.reference} (from {name.title})" for name in pruning.pruned),
        *(f"not removed: {name.reference}: {name.reason}" for name in pruning.kept),
    ]
