"""A bundle on a medium that gives other bytes from some reading on: what was signed is loaded, or nothing is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.errors import AirgapError
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, make_gap, small_images
from tests.support.hostile import Trick, endless, hostile, link, turns
from tests.support.memory import MemoryContent
from tests.support.mounted import require_fuse

IMAGES = small_images()
SIGNED = {digest: raw for image in IMAGES.values() for digest, raw in image.contents.items()}
FILES = {
    "envelope": "bundle.dsse.json",
    "statement": "statement.json",
    "index": "index.json",
    "sums": "SHA256SUMS",
    "root": "trust/1.root.json",
    "image manifest": IMAGES[ONE].descriptor.digest.path,
    "layer": IMAGES[ONE].layers[1].path,
}


KINDS = ("fifo", "socket", "zeros", "folder", "endless", "link")
TURNS = range(4)


def place(file: str, how: object) -> str:
    """The folder of the bundle of which this file is not what it seems."""
    return f"{file.replace(' ', '-')}-{how}"


def tricks_of(bundle: Path) -> dict[str, Trick]:
    """By name on the medium; each bundle there has one."""
    found = {}
    for file, name in FILES.items():
        raw = (bundle / name).read_bytes()
        evil = raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]
        found |= {f"{place(file, after)}/{name}": turns(evil, after) for after in TURNS}
        special = {"endless": endless(), "link": link(bundle / name)}
        found |= {f"{place(file, kind)}/{name}": special.get(kind, Trick(kind)) for kind in KINDS}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"))


@pytest.fixture(scope="module")
def medium(made: Gap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle for each case, of which one file is not what it seems."""
    require_fuse()
    folder = tmp_path_factory.mktemp("medium")
    tricks = tricks_of(made.bundle)
    for name in tricks:
        shutil.copytree(made.bundle, folder / "good" / name.partition("/")[0])
    with hostile(folder / "medium", folder / "good", tricks) as mount_point:
        yield mount_point


@pytest.fixture
def gap(made: Gap, tmp_path: Path) -> Gap:
    return made.copy(tmp_path / "gap")


def load(gap: Gap, bundle: Path) -> tuple[MemoryContent, AirgapError | None]:
    """What the target has afterwards, and what was refused."""
    target = MemoryContent()
    try:
        report = load_bundle(bundle, gap.site, target, gap.now, jobs=1, progress=Silent())
    except AirgapError as error:
        return target, error
    return target, report.failure


def only_what_was_signed(target: MemoryContent) -> None:
    assert all(SIGNED[digest] == raw for digest, raw in target.contents.items())
    for name, digest in target.names.items():
        assert digest == IMAGES[name].descriptor.digest
        assert set(IMAGES[name].contents) <= set(target.contents)


@pytest.mark.parametrize("after", TURNS)
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_turns(gap: Gap, medium: Path, file: str, after: int):
    """Before the first reading, or after one, two or three."""
    target, error = load(gap, medium / place(file, after))
    only_what_was_signed(target)
    if after == 0:
        assert error is not None
    if error is None:
        assert target.names == {name: image.descriptor.digest for name, image in IMAGES.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_what_is_not_a_file(gap: Gap, medium: Path, file: str, kind: str):
    """Nothing is waited for, read without end or followed; the link leads to the good file."""
    target, error = load(gap, medium / place(file, kind))
    assert error is not None
    only_what_was_signed(target)
