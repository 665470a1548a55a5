"""All that is run, as pieces of work for a few processes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import ERRORS, FURTHER, WRITING, Campaign, Figures
from tests.faults.stories import STORIES
from tests.faults.world import World, warm_up

TIMED_KILLS = 20
"""Of each story."""


@dataclass(frozen=True)
class Piece:
    """A part of the work on one story."""

    story: str
    what: str
    """`errors`, `from there on`, `kills` or `timed kills`."""
    classes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    step: int = 1
    count: int = 0

    def __str__(self) -> str:
        return " ".join((self.story, self.what, *self.classes, *self.errors))


def whole(stories: Sequence[str]) -> list[Piece]:
    """Every call of the classes that write, with every error; the others with EIO."""
    return [piece for story in stories for piece in _of_story(story)]


def _of_story(story: str) -> Iterator[Piece]:
    for kind in WRITING:
        for error in (*ERRORS, "short"):
            yield Piece(story, "errors", (kind,), (error,))
    for kind in FURTHER:
        yield Piece(story, "errors", (kind,), ("EIO",))
    for error in ERRORS:
        yield Piece(story, "from there on", errors=(error,), step=3)
    yield Piece(story, "kills")
    yield Piece(story, "timed kills", count=TIMED_KILLS)


def work(piece: Piece, folder: Path) -> Figures:
    """Do a piece in a folder of its own."""
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="faults-", dir=folder))
    try:
        campaign = Campaign(STORIES[piece.story], World(place))
        if piece.what == "errors":
            campaign.errors(piece.classes, piece.errors, piece.step)
        elif piece.what == "from there on":
            campaign.from_there_on(piece.errors, piece.step)
        elif piece.what == "kills":
            campaign.kills(max(piece.step, 1))
        else:
            campaign.timed_kills(piece.count)
        return campaign.figures
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(
    pieces: Sequence[Piece], folder: Path, jobs: int, tell: Callable[[Piece, Figures], object]
) -> Figures:
    """Do all pieces; what each brought is told as it comes."""
    total = Figures()
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(work, piece, folder): piece for piece in pieces}
        for future in as_completed(futures):
            figures = future.result()
            tell(futures[future], figures)
            total += figures
    return total
