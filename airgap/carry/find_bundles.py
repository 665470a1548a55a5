"""Finds the bundle that a person means by a medium's folder, or by a bundle's name.

What is found decides only which path is opened: the bundle is verified like one whose path was typed. A
search looks at the direct entries of few folders, up to fixed limits, and follows no links.
"""

import contextlib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from airgap.bundle.contents import STATEMENT_FILE
from airgap.bundle.files import Files
from airgap.bundle.mounts import media_folders
from airgap.bundle.volumes import group_by_bundle, open_bundle
from airgap.carry.receiver import Receiver
from airgap.carry.verify import authenticate
from airgap.durable import exists
from airgap.errors import AirgapError, UsageError
from airgap.limits import MAX_EXAMINED_BUNDLES, MAX_STATEMENT_BYTES
from airgap.recognise import PathKind, bundles_in, recognise
from airgap.values import dataclass

_TITLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}-[0-9]{4,9}", re.ASCII)
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle in a folder: its own folder, its tar, or the folders of its volumes there."""

    paths: tuple[Path, ...]

    @property
    def title(self) -> str:
        """Its name, as its folder is called; not verified."""
        return re.sub(r"\.v[0-9]+$|\.tar$", "", self.paths[0].name)


def bundles_on(folder: Path, title: str | None = None) -> list[FoundBundle]:
    """Return the bundles directly below `folder`; only those that are called `title`, if given."""
    return [FoundBundle(group) for group in group_by_bundle(bundles_in(folder, title), alone=True)]


def is_title(text: str) -> bool:
    """Return whether a text may be the name of a bundle: `weekly-0007`."""
    return _TITLE.fullmatch(text) is not None


def find_by_title(title: str) -> FoundBundle | None:
    """Return the bundle of that name in the current folder or on a mounted medium; None if there is none.

    Of several copies of one bundle, the first is returned. Raises `UsageError` if the copies differ.
    """
    found: list[Path] = []
    for folder in (Path(), *media_folders()):
        with contextlib.suppress(OSError, AirgapError):  # a medium that fails is as if it were not there
            found += bundles_in(folder, title)
    groups = [FoundBundle(group) for group in group_by_bundle(found, alone=True)]
    if len(groups) > 1 and len({_statement(group) for group in groups}) > 1:
        raise UsageError(
            "there are different bundles of this name", subject=title, want="the path of one of them",
            got=", ".join(str(group.paths[0]) for group in groups[:_SHOWN]),
        )  # fmt: skip
    return groups[0] if groups else None


def _statement(bundle: FoundBundle) -> bytes | None:
    """Return the bytes of the statement, to compare copies; None for one that cannot be read."""
    with contextlib.suppress(OSError, AirgapError), open_bundle(bundle.paths, alone=True) as folder:
        return folder.read(STATEMENT_FILE, MAX_STATEMENT_BYTES)
    return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several bundles on a medium."""

    bundle: FoundBundle
    remark: str | None
    """Why this site would not take it, as far as its signed statement says; None if it might."""


ReceiverOf = Callable[[Files], Receiver]
"""Returns this site's state for the sender of an open bundle."""


def candidates(folder: Path, receiver: ReceiverOf | None) -> list[Candidate]:
    """Return the bundles on a medium. Without a `receiver`, each might be meant; with one, those are that are
    for its site and not older than what it has accepted. A bundle that is not signed by a trusted key might
    be meant too, so that it is not passed over in silence.
    """
    bundles = bundles_on(folder)
    if receiver is None or len(bundles) > MAX_EXAMINED_BUNDLES:
        return [Candidate(bundle, None) for bundle in bundles]
    return [Candidate(bundle, _remark(bundle, receiver)) for bundle in bundles]


def _remark(bundle: FoundBundle, receiver_of: ReceiverOf) -> str | None:
    try:
        with open_bundle(bundle.paths, alone=True) as folder:
            receiver = receiver_of(folder)
            found = authenticate(folder, receiver)
    except AirgapError:
        return None
    statement = found.statement
    if found.root.recall_of(found.sha256) is not None:
        return "recalled"
    if statement.destinations and receiver.site not in statement.destinations:
        return f"for {', '.join(statement.destinations)}"
    mark = receiver.mark(statement.stream)
    if mark is not None and (statement.epoch, statement.serial) < (mark.epoch, mark.serial):
        return "older than what was accepted here"
    return None


def meant_on(folder: Path, receiver: ReceiverOf | None, command: str, options: str = "") -> FoundBundle:
    """Return the one bundle on a medium that is meant. Raises `UsageError` with the commands to choose from
    if there are several.
    """
    there = candidates(folder, receiver)
    meant = [candidate for candidate in there if candidate.remark is None]
    if len(there) == 1:
        return there[0].bundle
    if len(meant) == 1:
        return meant[0].bundle
    listed = ", ".join(_listed(there))
    commands = ", ".join(
        f"`airgap {command} {_quoted(candidate.bundle.paths)}{options}`"
        for candidate in (meant or there)[:_SHOWN]
    )
    what = "there are several bundles" if meant else "none of the bundles is for this site now"
    raise UsageError(what, subject=folder, want="one bundle", got=listed, hint=f"name it: {commands}")


def _listed(there: Sequence[Candidate]) -> Iterator[str]:
    for candidate in there[:_SHOWN]:
        yield candidate.bundle.title + (f" ({candidate.remark})" if candidate.remark else "")
    if len(there) > _SHOWN:
        yield f"and {len(there) - _SHOWN} more"


def _quoted(paths: Sequence[Path]) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)


def holds_bundles(path: Path) -> bool:
    """Return whether `path` is a folder with bundles below, and not itself a bundle."""
    return recognise(path).kind in (PathKind.MEDIUM, PathKind.VOLUMES)


def is_absent_title(path: Path) -> bool:
    """Return whether `path` is a bundle's name, and nothing in the current folder."""
    return is_title(str(path)) and not exists(path, follow=False)
