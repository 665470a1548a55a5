"""Output about what a delta bundle leaves out."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement


def requires_value(statement: "Statement") -> dict[str, int]:
    """Return the number and the bytes for JSON output."""
    return {"count": len(statement.requires), "bytes": sum(item.size for item in statement.requires)}


def requires_text(statement: "Statement") -> str:
    """Return the text about missing blobs; empty for a bundle that has all its blobs."""
    from airgap.cli import console

    if not (count := len(statement.requires)):
        return ""
    size = console.size(sum(item.size for item in statement.requires))
    return f"needs {count} blob{'s' * (count > 1)} ({size}) that earlier bundles brought"
