"""Stories of loads with options, and of a pack without a manifest."""

import shutil

from airgap.oci.reference import ImageReference
from tests.faults.judge_loads import (
    FILES,
    OLD_FILES,
    copy_faults,
    file_faults,
    made_faults,
    prune_faults,
    together_faults,
)
from tests.faults.story import LOAD, NEW, OLD, PACK, Story, sealed
from tests.faults.world import OLD as OLD_NAME
from tests.faults.world import ONE, TWO, World, fault_images, old_images
from tests.support.images import write_layout

_TO_LAYOUT = (*LOAD, "oci:{run}/target")
_NAMED = ("{registry}/one:1", "{registry}/two:1", "--name", "edge")


def _loaded(world: World) -> None:
    """All images are at the target: what is left to write is the receipt with its copy."""
    sealed(world)
    write_layout(world.target, old_images())
    world.must(world.offline, *_TO_LAYOUT)


def _before_load(world: World) -> None:
    sealed(world)
    write_layout(world.target, old_images())


def _before_prune(world: World) -> None:
    """A second bundle has only one of the names that the first brought to the target."""
    sealed(world)
    write_layout(world.target, {OLD_NAME: old_images()[OLD_NAME]})
    world.must(world.offline, *_TO_LAYOUT)
    shutil.rmtree(world.folder / "source")
    write_layout(world.folder / "source", {ONE: old_images()[ONE]})
    world.must(world.online, *PACK)
    shutil.rmtree(world.offline / "holdings")


def _with_files(world: World) -> None:
    """A bundle with files, and a folder that has an older one of them, and one of its own."""
    world.begin(old_images())
    for folder, files in (("carried", FILES), ("srv", OLD_FILES)):
        (world.folder / folder).mkdir()
        for name, raw in files.items():
            (world.folder / folder / name).write_bytes(raw)
    (world.folder / "carried" / "tool").chmod(0o755)
    manifest = world.folder / "stack.yaml"
    manifest.write_text(manifest.read_text() + "files: [./carried/app.conf, ./carried/tool]\n")
    world.must(world.online, *PACK)


def _named(world: World) -> None:
    """A registry with two images, and an empty folder to work in."""
    world.begin()
    world.registry_images = {
        f"registry.test/{ImageReference.parse(name).repository}:1": fault_images()[name]
        for name in (ONE, TWO)
    }
    world.nearby = ("edge.yaml", "edge.lock.yaml")


LOAD_STORIES = (
    Story(
        "load-again",
        "load what is there already: a receipt, and its copy on the medium",
        _TO_LAYOUT,
        _loaded,
        loads=True,
        old=OLD | NEW,
        new=NEW,
        judge=copy_faults,
    ),
    Story(
        "load-together",
        "load all or nothing into an OCI layout that has old images",
        (*_TO_LAYOUT, "--all-or-nothing"),
        _before_load,
        loads=True,
        old=OLD,
        new=NEW,
        judge=together_faults,
    ),
    Story(
        "load-prune",
        "load a bundle and remove the names that its stream no longer has",
        ("load", "{run}/stick/edge-0002", "--prune", "--yes", *_TO_LAYOUT[2:]),
        _before_prune,
        loads=True,
        old={OLD_NAME: OLD[OLD_NAME], ONE: NEW[ONE]},
        new={**NEW, ONE: OLD[ONE]},
        judge=prune_faults,
    ),
    Story(
        "load-files",
        "write the files of a bundle into a folder that has an older one",
        (*LOAD[:-1], "--files-to", "{run}/srv", "--on-conflict", "replace"),
        _with_files,
        judge=file_faults,
    ),
    Story(
        "pack-named",
        "pack images that are named, with the manifest that is made of them",
        ("pack", *_NAMED, *PACK[2:]),
        _named,
        online=True,
        registry=True,
        judge=made_faults,
    ),
)
