"""A story: a command of airgap, what is there before, and what must hold after it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.ptrace import Outcome
from tests.faults.world import World, fault_images, old_images

Judge = Callable[[World, Outcome], Iterator[str]]
"""Yields what is wrong after a run."""


def _nothing_else(_world: World, _outcome: Outcome) -> Iterator[str]:
    yield from ()


@dataclass(frozen=True)
class Story:
    """What is faulted: `words` are the command, `{run}` in them the world's folder."""

    name: str
    about: str
    words: tuple[str, ...]
    prepare: Callable[[World], None]
    online: bool = False
    """Run by the sending side."""
    loads: bool = False
    """It brings the images to the target."""
    old: Mapping[str, str] = field(default_factory=dict)
    """What the target has before: digests by name."""
    new: Mapping[str, str] = field(default_factory=dict)
    """What the bundle brings."""

    far: bool = False
    """It needs a host that is sent to."""
    registry: bool = False
    """It needs a registry."""
    signs: bool = False
    """It adds a signature to a sealed bundle."""
    again: int = 0
    """Exit code of the same command after it has succeeded: 2 where there is nothing left to change."""

    attempts: bool = True
    """The ledger gets a record of its beginning and one of its end."""
    judge: Judge = _nothing_else
    """What else must hold after it, with and without a fault."""

    def side(self, world: World) -> Path:
        return world.online if self.online else world.offline


PACK = ("pack", "{run}/stack.yaml", "--to", "{run}/stick", "--quiet", "--jobs", "2")
LOAD = ("load", "{run}/stick/edge-0001", "--quiet", "--to")


def sealed(world: World) -> None:
    """A bundle on the stick."""
    world.begin()
    world.must(world.online, *PACK)


def digests(images: Mapping[str, object]) -> dict[str, str]:
    """The digests of images, by name."""
    return {name: str(image.descriptor.digest) for name, image in images.items()}  # type: ignore[attr-defined]


NEW = digests(fault_images())
OLD = digests(old_images())
