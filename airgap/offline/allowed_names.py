"""Refuses the names of a bundle that its sender may not set (FORMAT.md §12)."""

import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence

from airgap.audit.receipt import PRESENT
from airgap.audit.search import entries_of
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import Target
from airgap.errors import PolicyError
from airgap.oci.name_rules import NameRules
from airgap.oci.reference import ImageReference, reference_in
from airgap.site import Site
from airgap.values import dataclass

SERVED = "serve"
"""The target of a rule about what `airgap serve` offers."""


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """The rules about the names of one sender."""

    sender: str
    rules: NameRules | None

    def check(self, images: Sequence[VerifiedImage], target: str) -> None:
        """Raise `PolicyError` unless the sender may set the names of all images, after `--map`."""
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

    def refuse_taken(
        self, images: Sequence[VerifiedImage], target: Target, owners: Mapping[Hashable, "_Owner"]
    ) -> None:
        """Raise `PolicyError` for a name that another sender set last at the target, if no rule names it."""
        rules = self.rules or NameRules()
        for image in images:
            owner = owners.get(target.kept_name(image.name))
            if owner and owner.sender != self.sender and not rules.name_explicitly(owner.name, target.name):
                raise _taken_error(self.sender, owner, f"{target.name}: {image.name}")


@dataclass(frozen=True, slots=True)
class _Owner:
    """The sender that set a name last, and the name as that sender spelled it."""

    sender: str
    name: ImageReference


def _taken_error(sender: str, owner: _Owner, subject: str) -> PolicyError:
    name = str(owner.name)
    return PolicyError(
        f"the name belongs to another sender: {owner.sender} set it last", subject=subject,
        want=f"a rule of {sender} that names {name}", hint=f"nothing was changed; if {sender} may take it: "
        f"`airgap trust allow {sender} --names {shlex.quote(name)}`, with the other patterns that it keeps; "
        "'*' is not enough",
    )  # fmt: skip


def _owners(site: Site, target: Target) -> dict[Hashable, _Owner]:
    """Return who set each name at the target last, by the ledger. Two names may be one at a registry."""
    first = site.from_sender("").sender_name
    owners: dict[Hashable, _Owner] = {}
    for entry in entries_of(site.ledger_path, "load"):
        effects = entry.effects if entry.details.get("target") == target.name else ()
        for effect in effects:
            if effect.get("verdict") in PRESENT and (name := reference_in(str(effect.get("reference")))):
                owners[target.kept_name(name)] = _Owner(entry.sender or first, name.normal)
    return owners


def name_check(site: Site, target: Target) -> Callable[[Sequence[VerifiedImage]], None]:
    """Return the check of the final names of a bundle of the sender whose state `site` has."""
    rules = rules_for(site)

    def check(images: Sequence[VerifiedImage]) -> None:
        rules.check(images, target.name)
        if site.has_several_senders:
            rules.refuse_taken(images, target, _owners(site, target))

    return check


def rules_for(site: Site) -> AllowedNames:
    """Return the rules of the sender whose state `site` has."""
    return AllowedNames(site.sender_name, site.settings.rules)
