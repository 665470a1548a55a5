"""Prove by faults that nothing ever looks complete and is not: `python -m tests.faults`, from the repository's root.

Every story is run again and again, each time with another system call refused, cut short or the last one,
and what it leaves is judged. `--write` keeps the figures in RESULTS.md. Exit code 1 when anything escaped,
or a run was lost to the tests' own file systems twice.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import plan
from tests.faults.campaign import Figures
from tests.faults.report import page
from tests.faults.stories import STORIES
from tests.faults.world import fast_folder

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    options = _options()
    begin = time.monotonic()
    pieces = plan.whole(options.story or [*STORIES, plan.INIT, plan.STICKS])
    if options.only:
        pieces = [piece for piece in pieces if options.only in str(piece)]

    def tell(piece: plan.Piece, figures: Figures, total: Figures, left: int) -> None:
        _tell(piece, figures)
        if options.write:  # each time: the figures of a run that is broken off are figures too
            RESULTS.write_text(page(total, time.monotonic() - begin, plan.STEPS, left))

    with tempfile.TemporaryDirectory(prefix="airgap-faults-", dir=options.folder) as folder:
        figures = plan.run(pieces, Path(folder), options.jobs, tell)
    runs = sum(figures.runs.values())
    print(
        f"{runs} runs, {len(figures.escapes)} escapes, {len(figures.broken)} harness errors, of which "
        f"{len(figures.lost)} came again, {time.monotonic() - begin:.0f} s"
    )
    return 1 if figures.escapes or figures.lost else 0


def _tell(piece: plan.Piece, figures: Figures) -> None:
    runs = sum(figures.runs.values())
    if runs:
        print(f"{piece}: {runs} runs, {len(figures.escapes)} escapes", flush=True)
    for escape in figures.escapes:
        print(f"  ESCAPE {escape}", flush=True)
    for error in figures.broken:
        print(f"  HARNESS ERROR, run once more: {error}", flush=True)
    for error in figures.lost:
        print(f"  LOST {error}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--story",
        action="append",
        choices=[*STORIES, plan.INIT, plan.STICKS],
        help="only this one; may be repeated",
    )
    parser.add_argument("--only", metavar="WORDS", help="only pieces of work with these words in their names")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/faults/RESULTS.md")
    parser.add_argument("--folder", type=Path, default=fast_folder(), help="where to work")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
