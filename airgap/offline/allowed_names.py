"""Refuses the names of a bundle that its sender may not set (FORMAT.md §12)."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from airgap.carry.verify_small_files import VerifiedImage
from airgap.errors import PolicyError
from airgap.oci.name_rules import NameRules
from airgap.site import Site

SERVED = "serve"
"""The target of a rule about what `airgap serve` offers."""


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """The rules about the names of one sender."""

    sender: str
    rules: NameRules | None

    def check(self, images: Sequence[VerifiedImage], target: str) -> None:
        """Raise `PolicyError` unless the sender may set all names, which `--map` has changed already."""
        if self.rules is None:
            return
        refused = self.rules.refused((image.name for image in images), target)
        if refused:
            pattern = shlex.quote(str(refused[0].normal))
            raise PolicyError(
                f"the sender {self.sender} may not set this name", subject=f"{target}: {refused[0]}"
                + (f" and {len(refused) - 1} more" if refused[1:] else ""), want=str(self.rules),
                hint=f"nothing was changed; if it may: `airgap trust allow {self.sender} --names {pattern}`, "
                "with the other patterns that it keeps; --map gives the images other names",
            )  # fmt: skip


def rules_for(site: Site) -> AllowedNames:
    """Return the rules of the sender whose state `site` has."""
    return AllowedNames(site.sender_name, site.settings.rules)
