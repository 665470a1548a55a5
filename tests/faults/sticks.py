"""Sticks that lie (tests/support/liar.py): what is written to one, and what is found when it is plugged in again."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Figures, differences
from tests.faults.final_state import final_state
from tests.faults.judge_bundles import bundle_faults
from tests.faults.judge_sites import lines_of, site_faults
from tests.faults.world import World, fault_images
from tests.support.liar import BLOCK, Liar, Lie

LARGE = 2_500_000
"""Bytes of the layer that makes most of the bundle."""


@dataclass(frozen=True)
class Writer:
    """A command that writes a bundle to `{stick}`."""

    name: str
    words: tuple[str, ...]
    online: bool = False


WRITERS = (
    Writer("pack", ("pack", "{run}/stack.yaml", "--to", "{stick}", "--quiet", "--json"), online=True),
    Writer("repack", ("repack", "{run}/stick/edge-0001", "--to", "{stick}", "--quiet", "--json")),
    Writer("receive", ("receive", "{run}/stick/edge-0001", "--into", "{stick}", "--quiet", "--json")),
)

LIES = (
    *(f"wraps at {share} %" for share in (25, 50, 90)),
    *(f"drops writes after {share} %" for share in (0, 10, 50, 90, 99)),
    *(f"is full after {share} %" for share in (10, 50, 90)),
    *(f"flips a bit in each {size} KiB" for size in (4, 64, 512)),
    *(f"fails after {share} % written" for share in (0, 10, 25, 50, 75, 90, 99)),
    *(f"is gone after {share} % written" for share in (0, 10, 25, 50, 75, 90, 99)),
    *(f"fails after {share} % read" for share in (0, 10, 50, 90)),
    *(f"forgets what was not synced, pulled out after {calls} calls" for calls in range(0, 320, 32)),
    "forgets what was not synced",
    "takes half of each write",
    "lists other names",
    "is honest",
)
"""Percent are of the bundle's bytes; calls are those that change anything on the stick."""

_HONEST = ("takes half of each write", "is honest", "forgets what was not synced")
_CODES = {11, 12}
"""The medium fails, or does not hold what was written."""


def lie_of(text: str, total: int) -> Lie:
    """The lie, told by a stick to which `total` bytes are written."""
    words = text.split()
    numbers = [int(word) for word in words if word.isdigit()]
    part = total * numbers[0] // 100 if numbers else 0
    match words:
        case ["wraps", *_]:
            return Lie(wraps_at=part // BLOCK * BLOCK)
        case ["drops", *_]:
            return Lie(drops_after=part)
        case ["is", "full", *_]:
            return Lie(full_after=part)
        case ["flips", *_]:
            return Lie(flips_every=numbers[0] << 10)
        case ["fails", *_, "written"]:
            return Lie(fails_after=part)
        case ["is", "gone", *_]:
            return Lie(gone_after=part)
        case ["fails", *_, "read"]:
            return Lie(read_fails_after=part)
        case ["forgets", *_]:
            return Lie(forgets=True, gone_after_calls=numbers[0] if numbers else None)
        case ["takes", *_]:
            return Lie(short=True)
        case ["lists", *_]:
            return Lie(mangles=True)
    return Lie()


class Sticks:
    """One writer, and stick after stick."""

    def __init__(self, writer: Writer, work: Path) -> None:
        self.writer = writer
        self.world = World(work)
        self.figures = Figures()
        world = self.world
        world.begin(fault_images(LARGE))
        if not writer.online:
            world.must(world.online, "pack", "{run}/stack.yaml", "--to", "{run}/stick", "--quiet")
        world.keep()
        self.side = world.online if writer.online else world.offline
        world.extra["stick"] = str(world.folder / "honest")
        world.again()
        world.must(self.side, *writer.words)
        self.total = sum(
            path.stat().st_size for path in (world.folder / "honest").rglob("*") if path.is_file()
        )
        self.final = self._state(world.folder / "honest")

    def _state(self, stick: Path) -> dict[str, str]:
        """The whole of the bundle, and of the site."""
        found = final_state(self.world, stick)
        return found | {f"site/{name}": value for name, value in final_state(self.world, self.side).items()}

    def one(self, text: str) -> None:
        """Write to a stick that tells this lie; judge; plug it in again; judge; and write again, without lies."""
        self.figures.twice(f"stick: {self.writer.name}: {text}", lambda: self._one(text))

    def _one(self, text: str) -> None:
        self.world.again()
        place = self.world.work / "liar"
        shutil.rmtree(place, ignore_errors=True)
        lines = lines_of(self.side)
        with Liar(place, lie_of(text, self.total)) as stick:
            self.world.extra["stick"] = str(stick.mount_point)
            code = self.world.run(self.side, self.writer.words)
            found = [*self._told(text, code), *site_faults(self.side, lines, code, ledger_hit=False)]
            said = (self.world.work / "out").read_text()
            found += self._on_the_stick(stick, text, code, said)
            found += self._again(stick)
        name = f"stick: {self.writer.name}"
        self.figures.runs[name, "stick", text] += 1
        self.figures.codes[code] += 1
        self.figures.escapes += [f"{name}: {text}: {each}" for each in found]

    def _told(self, text: str, code: int) -> Iterator[str]:
        said = self.world.error()
        if code and (code not in _CODES or self.world.extra["stick"] not in said):
            yield f"exit code {code}: {said}"
        if code and text in _HONEST:
            yield f"refused, and nothing is wrong: {said}"

    def _on_the_stick(self, stick: Liar, text: str, code: int, said: str) -> Iterator[str]:
        """What is there when it is plugged in again, and nothing is cached any more."""
        stick.plug_in_again()
        folder = stick.mount_point / "edge-0001"
        wrong = list(bundle_faults(self.world, {}, stick.mount_point))
        if code:
            yield from wrong
            return
        read_back = (json.loads(said).get("read_back") or "") if said else ""
        if wrong and read_back != "cached":
            yield f"sealed and {read_back or 'not read back'}, and {wrong[0]}"
        media = self.world.run(self.side, ("verify", "--media", str(folder), "--quiet"))
        if wrong and not media:
            yield f"verify --media finds nothing, and {wrong[0]}"
        if media and not wrong:
            yield f"verify --media fails: {self.world.error()}"

    def _again(self, stick: Liar) -> Iterator[str]:
        """The same command, now that the stick tells no lies, ends as it should."""
        stick.plug_in_again(Lie())
        if self.world.run(self.side, self.writer.words):
            yield f"the same command again fails: {self.world.error()}"
            return
        stick.plug_in_again()
        yield from (
            f"after the same command again: {each}"
            for each in bundle_faults(self.world, {}, stick.mount_point)
        )
        try:
            yield from differences(self.final, self._state(stick.mount_point))
        except ValueError as error:
            yield f"after the same command again something cannot be read: {error!r}"
