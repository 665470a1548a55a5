"""Output about the platforms that are carried and those that are left out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airgap.online.platforms import Chosen


def value(chosen: "Chosen") -> dict[str, Any]:
    """Return the keys of one image in `--json`."""
    return {
        "left_out": [str(platform) for platform in chosen.left_out],
        "platforms_by_default": chosen.by_default,
        "notes": list(chosen.notes),
    }


def lines(choices: "Mapping[str, Chosen]") -> list[str]:
    """Return one line for everything that the default leaves out, and one for each note on an image."""
    partly = [chosen for chosen in choices.values() if chosen.by_default and chosen.left_out]
    notes = [f"{name}: {note}" for name, chosen in choices.items() for note in chosen.notes]
    if not partly:
        return notes
    count = sum(len(chosen.left_out) for chosen in partly)
    others, them = ("other platform", "it") if count == 1 else ("other platforms", "them")
    of = f" of {len(partly)} images" if len(partly) > 1 else ""
    wanted = ", ".join(map(str, partly[0].wanted))
    default = f"only {wanted}, as the manifest names no platforms"
    return [f"{default}: {count} {others}{of} left out; `platforms: all` carries {them}", *notes]
