"""What must hold of loads with options, and of a manifest that was made, after every fault."""

from collections.abc import Iterator

from airgap.manifest import Lock, TransferManifest
from airgap.manifest.from_images import is_unedited
from airgap.oci.files_artifact import PART_SUFFIX
from tests.faults.judge_targets import graph_faults, target_names
from tests.faults.ptrace import Outcome
from tests.faults.story import NEW, OLD
from tests.faults.world import MULTI, ONE, TWO, World

FILES = {"app.conf": b"level=info\n" * 90, "tool": b"#!/bin/sh\necho new\n" * 900}
"""What a bundle carries beside its images."""
OLD_FILES = {"app.conf": b"level=debug\n", "mine": b"of the site\n"}
"""What is in the folder before; one of them is of no bundle."""


def copy_faults(_world: World, outcome: Outcome) -> Iterator[str]:
    """A receipt that cannot be copied onto its medium does not fail the load."""
    if outcome.code > 0 and outcome.hits and all("/stick/receipts" in hit for hit in outcome.hits):
        yield f"only the copy of the receipt failed, and the exit code is {outcome.code}"


def together_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """No name has moved before all content is there. After an error all have moved, or none, or the message
    says which could not be given back; a kill may come between two names.
    """
    found = target_names(world)
    names = {name: digest for each in found for name, digest in each.digests.items()}
    moved = sorted(name for name, digest in NEW.items() if names.get(name) == digest)
    if moved:
        missing = [text for digest in NEW.values() for text in graph_faults(found[0].content, digest)]
        yield from (f"{moved[0]} has moved, and {text}" for text in missing)
    told = outcome.code < 0 or (outcome.code > 0 and "could not be given back" in world.error())
    if len(moved) not in (0, len(NEW)) and not told:
        yield f"only {', '.join(moved)} moved"
    if outcome.code == 0 and not moved:
        yield "it ended well, and no name has moved"


def prune_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """Names that the bundle no longer has go after its own have moved; one that stays is named."""
    names = {name: digest for each in target_names(world) for name, digest in each.digests.items()}
    stale = {TWO, MULTI} & names.keys()
    if len(stale) < len((TWO, MULTI)) and names.get(ONE) != OLD[ONE]:
        yield "a name was removed before those of the bundle moved"
    if outcome.code == 0:
        said = world.error()
        yield from (f"it ended well, and {name} is still there" for name in sorted(stale) if name not in said)


def file_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """Each file is as it was, or what the bundle brings, whole."""
    folder = world.folder / "srv"
    for name in sorted(FILES.keys() | OLD_FILES.keys()):
        path = folder / name
        got = path.read_bytes() if path.exists() else None
        if got not in (OLD_FILES.get(name), FILES.get(name, OLD_FILES.get(name))):
            yield f"{name} is neither what it was nor what the bundle brings"
        if outcome.code == 0 and got != (FILES | {"mine": OLD_FILES["mine"]})[name]:
            yield f"it ended well, and {name} is not what the bundle brings"
    tool = folder / "tool"
    if tool.exists() and not tool.stat().st_mode & 0o100:
        yield "the program cannot be run"
    for path in folder.iterdir():
        if path.name not in FILES | OLD_FILES and not path.name.endswith(PART_SUFFIX):
            yield f"{path.name} is of nobody"


def made_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """The manifest and its lock, made of images on the command line, are whole or absent."""
    path = world.folder / "edge.yaml"
    lock = world.folder / "edge.lock.yaml"
    if path.exists():
        manifest = TransferManifest.load(path)
        if not is_unedited(path.read_bytes()):
            yield "edge.yaml is not what was made"
        if lock.exists() and not Lock.load(lock).fits(manifest):
            yield "edge.lock.yaml does not fit edge.yaml"
    elif lock.exists():
        yield "edge.lock.yaml is there without its manifest"
    for place in (path, lock, world.bundle / "bundle.dsse.json"):
        if outcome.code == 0 and not place.exists():
            yield f"it ended well, and {place.name} is missing"
    if (world.bundle / "bundle.dsse.json").exists() and not (path.exists() and lock.exists()):
        yield "the bundle is sealed, and its manifest or lock is missing"
