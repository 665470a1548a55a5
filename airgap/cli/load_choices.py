"""The options of `load` that decide about names, files and older bundles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli.options import Map
from airgap.cli.reasons import checked_reason
from airgap.errors import UsageError
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.offline.load_options import LoadOptions

OnConflict = Annotated[
    str | None,
    typer.Option(
        metavar="replace|refuse",
        help="What to do if a name has another image at the target, or a file is different; by default, "
        "names move and files stay.",
    ),
]
FilesTo = Annotated[
    Path | None,
    typer.Option(
        "--files-to",
        metavar="DIR",
        help="The folder for the bundle's files. Without --to, only these are loaded.",
    ),
]
AllowUrls = Annotated[
    bool,
    typer.Option(
        "--allow-urls",
        help="Load images with foreign layers, although tools may request the addresses in them.",
    ),
]
AllOrNothing = Annotated[
    bool,
    typer.Option(
        "--all-or-nothing",
        help="Move no name before every image of the bundle is at the target and checked.",
    ),
]
Back = Annotated[
    bool,
    typer.Option(
        "--back",
        help="Load a bundle again that was accepted here before, although a newer one was accepted, or "
        "although it has expired. Needs --reason.",
    ),
]
Reason = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The reason for --back; it is in the ledger and in the receipt."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChoices:
    """The options of `load`, as they were typed."""

    files_to: FilesTo = None
    on_conflict: OnConflict = None
    renamings: Map = None
    allow_urls: AllowUrls = False
    all_or_nothing: AllOrNothing = False
    back: Back = False
    reason: Reason = None

    def check(self) -> None:
        """Raise `UsageError` for unknown values, and for options that exclude each other."""
        if self.on_conflict not in (None, "replace", "refuse"):
            raise UsageError("unknown --on-conflict", want="replace or refuse", got=self.on_conflict)
        if self.back != (self.reason is not None):
            raise UsageError(
                "--reason is missing" if self.back else "--reason is only for --back",
                hint="say why you go back, as in `airgap load --back BUNDLE --reason 'CHG-7: web 2 crashes'`",
            )

    def options(self) -> "LoadOptions":
        """Return the parsed options. Raises `UsageError` for an invalid renaming or reason."""
        from airgap.cli.endpoints import files_folder
        from airgap.offline.load_options import LoadOptions
        from airgap.offline.loader import ConflictRule
        from airgap.offline.rename import parse_renamings

        return LoadOptions(
            on_conflict=ConflictRule(self.on_conflict) if self.on_conflict else None,
            files_to=None if self.files_to is None else files_folder(self.files_to),
            renamings=parse_renamings(self.renamings or ()),
            allow_urls=self.allow_urls,
            all_or_nothing=self.all_or_nothing,
            back=None if self.reason is None else checked_reason(self.reason),
        )
