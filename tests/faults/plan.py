"""All that is run, as pieces of work for a few processes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import ERRORS, FURTHER, WRITING, Campaign, Figures
from tests.faults.power import init_cuts, power_cuts
from tests.faults.sticks import LIES, WRITERS, Sticks
from tests.faults.stories import STORIES
from tests.faults.world import World, warm_up

STICKS = "sticks"
INIT = "init"
"""The making of a site, while the power is cut."""
TIMED_KILLS = 20
"""Of each story."""
THERE_ON = 8
"""One call of so many is the first from which all fail."""
STEPS = {
    **dict.fromkeys(("tar", "load-layout", "sign", "restore", "load-again", "load-prune", "load-files"), 2),
    **dict.fromkeys(("resume", "receive", "receive-half", "repair", "load-back"), 3),
    **dict.fromkeys(("load-folder", "load-archive", "load-registry"), 3),
    **dict.fromkeys(("volumes", "repack", "load-together", "pack-named"), 6),
}
"""These stories write by the same ways as others: one call of so many is met, by each error another. The whole
takes half an hour on two cores with these.
"""
POWER_STEP = 6
"""The power is cut after one call of so many."""
FURTHER_STEPS = {"stat": 6, "open to read": 3, "close after reading": 3, "read": 2}


@dataclass(frozen=True)
class Piece:
    """A part of the work on one story, or on sticks that lie."""

    story: str
    what: str
    """`errors`, `from there on`, `kills`, `timed kills`, `power cuts`, or the command that writes to sticks."""
    classes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    step: int = 1
    first: int = 1
    far: bool = False
    lies: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(
            (self.story, *(["far side"] if self.far else []), self.what, *self.classes, *self.errors)
        )


def whole(stories: Sequence[str]) -> list[Piece]:
    """Every call of the classes that write, with every error; of the others some, with EIO; kills and sticks."""
    found = [piece for story in stories if story in STORIES for piece in _of_story(story, far=False)]
    if "send" in stories:
        found += _of_story("send", far=True)
    if INIT in stories:
        found.append(Piece(INIT, "power cuts"))
    if STICKS in stories:
        halves = (LIES[::2], LIES[1::2])
        found += [Piece(STICKS, writer.name, lies=lies) for writer in WRITERS for lies in halves]
    return sorted(found, key=lambda piece: piece.what == "errors")  # the longest first


def _of_story(story: str, *, far: bool) -> Iterator[Piece]:
    step = STEPS.get(story, 1)
    for kind in WRITING:
        for number, error in enumerate((*ERRORS, "short") if kind == "write" else ERRORS):
            yield Piece(story, "errors", (kind,), (error,), step, 1 + number % step, far)
    for number, kind in enumerate(FURTHER):
        further = step * FURTHER_STEPS.get(kind, 1)
        yield Piece(story, "errors", (kind,), ("EIO",), further, 1 + number % further, far)
    for error in ERRORS:
        yield Piece(story, "from there on", errors=(error,), step=THERE_ON * step, far=far)
    yield Piece(story, "kills", step=step, far=far)
    if not far:
        yield Piece(story, "timed kills")
    on_disk = not STORIES[story].far and not (STORIES[story].loads and STORIES[story].registry)
    if on_disk:  # what the others have is on no disk of ours
        yield Piece(story, "power cuts", step=POWER_STEP * (1 + (step > 1)))


def work(piece: Piece, folder: Path) -> Figures:
    """Do a piece in a folder of its own."""
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="faults-", dir=folder))
    place.chmod(0o755)
    try:
        if piece.story == STICKS:
            return _on_sticks(piece, place)
        return _in_init(World(place)) if piece.story == INIT else _in_story(piece, World(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _on_sticks(piece: Piece, place: Path) -> Figures:
    writer = next(each for each in WRITERS if each.name == piece.what)
    sticks = Sticks(writer, place)
    for lie in piece.lies:
        sticks.one(lie)
    return sticks.figures


def _in_init(world: World) -> Figures:
    figures = Figures()
    figures.twice(INIT, lambda: init_cuts(world, figures))
    return figures


def _in_story(piece: Piece, world: World) -> Figures:
    try:
        campaign = Campaign(STORIES[piece.story], world, far=piece.far)
        if piece.what == "errors":
            campaign.errors(piece.classes, piece.errors, piece.step, piece.first)
        elif piece.what == "from there on":
            campaign.from_there_on(piece.errors, piece.step)
        elif piece.what == "kills":
            campaign.kills(piece.step)
        elif piece.what == "power cuts":
            campaign.figures.twice(str(piece), lambda: power_cuts(campaign, piece.step))
        else:
            campaign.timed_kills(TIMED_KILLS)
        return campaign.figures
    finally:
        world.close()


def _result(future: "Future[Figures]", piece: Piece) -> Figures:
    """What a piece brought; one that broke is lost, and the others are not."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - whatever it was
        return Figures(lost=[f"{piece}: {error!r}"])


def run(
    pieces: Sequence[Piece], folder: Path, jobs: int, tell: Callable[[Piece, Figures, Figures, int], object]
) -> Figures:
    """Do all pieces; what each brought is told as it comes, with all until then, and how many are left."""
    total = Figures()
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(work, piece, folder): piece for piece in pieces}
        for done, future in enumerate(as_completed(futures), 1):
            figures = _result(future, futures[future])
            total += figures
            tell(futures[future], figures, total, len(pieces) - done)
    return total
