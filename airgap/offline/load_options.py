"""The options of a load."""

from collections.abc import Mapping

from airgap.carry.receiver import OlderRule
from airgap.endpoints.ports import FilesTarget
from airgap.offline.loader import ConflictRule
from airgap.offline.prune import Confirm
from airgap.offline.rename import Renaming
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The parsed options of one load; the defaults are those of `airgap load`."""

    on_conflict: ConflictRule | None = None
    """What to do with names and files that differ at the target. If it is None, names move and files stay."""
    files_to: FilesTarget | None = None
    """A folder for the bundle's files, besides the target."""
    renamings: tuple[Renaming, ...] = ()
    allow_urls: bool = False
    """Whether images with foreign layers are loaded, although tools may request the addresses in them."""
    all_or_nothing: bool = False
    accept_jump: bool = False
    """Whether a serial far above the last one is accepted."""
    back: str | None = None
    """The reason for a step back to a bundle that was accepted before, which may be older than the newest one
    or expired; None for no step back."""
    prune: Confirm | None = None
    """Confirms which names are removed afterwards; without it, none are (see `plan_pruning`)."""

    @property
    def older_rule(self) -> OlderRule:
        """The rule for a bundle that is older than the newest accepted one."""
        return OlderRule.CONTENT if self.back is None else OlderRule.BACK

    @property
    def record(self) -> Mapping[str, object]:
        """What the ledger records of the choices that were made."""
        flags = {
            "allow_urls": self.allow_urls,
            "all_or_nothing": self.all_or_nothing,
            "prune": self.prune is not None,
        }
        return {
            **({"map": [str(renaming) for renaming in self.renamings]} if self.renamings else {}),
            **({"files_to": self.files_to.name} if self.files_to is not None else {}),
            **{name: True for name, is_set in flags.items() if is_set},
        }


DEFAULTS = LoadOptions()
