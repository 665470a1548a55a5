"""A quick slice of the faults: `python -m tests.faults` does all of them (tests/faults/RESULTS.md)."""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from airgap.durable import sync_folder
from tests.faults import ptrace
from tests.faults.campaign import MUTATING, Campaign, Figures, readable
from tests.faults.power import CUTS, cut_at, init_cuts, record
from tests.faults.ptrace import Fault
from tests.faults.slice import ERRORS, KILLS, some_faults, some_power_cuts
from tests.faults.sticks import WRITERS, Sticks
from tests.faults.stories import STORIES
from tests.faults.world import World, fast_folder, seeded, warm_up
from tests.support.mounted import Mounted, require_fuse
from tests.support.parts import require, require_root
from tests.support.power import State, Survives
from tests.support.recorder import Recorder

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    require(ptrace.supported(), "faults are injected into x86-64 Linux only")
    warm_up()


@pytest.fixture
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def sticks() -> Iterator[Sticks]:
    require_fuse()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Sticks(WRITERS[0], Path(folder))


@pytest.fixture(scope="session")
def lean() -> Iterator[ProcessPoolExecutor]:
    """A process that has not collected all tests: each run is a fork, and copies the memory that it touches."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=warm_up) as pool:
        yield pool


@pytest.mark.parametrize("name", STORIES)
def test_no_fault_leaves_what_looks_complete_and_is_not(
    name: str, work: Path, lean: ProcessPoolExecutor
) -> None:
    if STORIES[name].far:
        require_root()
    figures = lean.submit(some_faults, name, work).result()
    assert figures.escapes == []
    assert sum(figures.runs.values()) >= KILLS + 4


def change(path: Path, old: bytes, new: bytes) -> None:
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new, 1))


HARMS: dict[str, tuple[Callable[[World], object], str]] = {
    "a layer at the target": (
        lambda world: max((world.target / "blobs/sha256").iterdir(), key=_size).write_bytes(b"other"),
        "has other bytes",
    ),
    "a config at the target": (
        lambda world: min((world.target / "blobs/sha256").iterdir(), key=_size).unlink(),
        "is missing",
    ),
    "an old name": (lambda world: change(world.target / "index.json", b"/old:1", b"/odd:1"), "nobody signed"),
    "the index of the target": (
        lambda world: (world.target / "index.json").write_bytes(b"{"),
        "cannot be read",
    ),
    "a blob of the bundle": (
        lambda world: max((world.bundle / "blobs/sha256").iterdir(), key=_size).write_bytes(b"other"),
        "fails verify",
    ),
    "the statement": (
        lambda world: (world.bundle / "statement.json").write_bytes(b"{}"),
        "not what was signed",
    ),
    "a record": (
        lambda world: change(world.offline / "ledger.jsonl", b'"event"', b'"Event"'),
        "ledger.jsonl",
    ),
    "a receipt": (lambda world: next(world.offline.glob("receipts/*")).write_bytes(b"{}"), "plant: "),
    "the account of holdings": (
        lambda world: change(next(world.offline.glob("holdings/*")), b"/one:1", b"/new:1"),
        "the holdings say that registry.test/new:1 is there",
    ),
    "the mark": (
        lambda world: next(world.offline.glob("received/*")).unlink(),
        "no high-water mark is stored",
    ),
    "a source": (lambda world: (world.folder / "source" / "new").touch(), "source has changed"),
}


def _size(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture(scope="module")
def after_a_load() -> Iterator[Campaign]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Campaign(STORIES["load-layout"], World(Path(folder)))


@pytest.mark.parametrize("name", HARMS)
def test_the_judge_sees(name: str, after_a_load: Campaign) -> None:
    campaign = after_a_load
    campaign.world.again()
    campaign.world.must(campaign.world.offline, *campaign.story.words)
    assert campaign.found() == []
    harm, word = HARMS[name]
    harm(campaign.world)
    assert any(word in found for found in campaign.found()), campaign.found()


STORY_HARMS: dict[str, tuple[Callable[[World], object], str]] = {
    "sender-add": (
        lambda world: change(world.offline / "senders/vendor/sender.json", b"registry.vendor", b"registry"),
        "vendor may set registry/*",
    ),
    "sender-remove": (
        lambda world: world.must(world.offline, *STORIES["sender-add"].words),
        "it ended well, and vendor may set registry.vendor/*",
    ),
    "recall": (lambda world: (world.online / "trust/2.root.json").unlink(), "the bundle is not recalled"),
    "recall-install": (
        lambda world: (world.offline / "trust/2.root.json").unlink(),
        "the trust root is not installed",
    ),
    "medium-lost": (
        lambda world: world.must(world.online, *STORIES["medium-found"].words),
        "it ended well, and lost is []",
    ),
    "backup": (lambda world: os.truncate(world.stick / "hq.age", 500), "the backup cannot be restored"),
    "restore": (lambda world: (world.online / "sent/edge.json").unlink(), "the last serial that was used is"),
    "load-together": (
        lambda world: change(
            world.target / "index.json", b'ref.name":"registry.test/two:1', b'ref.name":"x:1'
        ),
        "only registry.test/multi:1, registry.test/one:1 moved",
    ),
    "load-prune": (
        lambda world: world.must(world.offline, *STORIES["load-back"].words),
        "registry.test/two:1 is still there",
    ),
    "load-files": (lambda world: os.truncate(world.folder / "srv/tool", 9), "tool is neither what it was"),
    "pack-named": (lambda world: (world.folder / "edge.lock.yaml").unlink(), "edge.lock.yaml is missing"),
}


@pytest.mark.parametrize("name", STORY_HARMS)
def test_the_judge_of_a_story_sees(name: str, work: Path) -> None:
    world = World(work)
    campaign = Campaign(STORIES[name], world)
    harm, word = STORY_HARMS[name]
    harm(world)
    found = list(readable(campaign.found()))
    world.close()
    assert any(word in text for text in found), found


def test_a_host_whose_disk_fails(work: Path) -> None:
    require_root()
    world = World(work)
    campaign = Campaign(STORIES["send"], world, far=True)
    random = seeded("slice", "far")
    calls = campaign.counts("close", *MUTATING)
    for kind in ("write", "fsync", "rename", "close"):
        campaign.one(Fault((kind,), random.choice(ERRORS[:3]), random.randint(1, calls[kind])))
    mutating = sum(calls[kind] for kind in MUTATING)
    campaign.one(Fault(MUTATING, "kill", random.randint(1, mutating)))
    world.close()
    assert campaign.figures.escapes == []
    assert sum(campaign.figures.runs.values()) == 5


@pytest.mark.parametrize(
    "lie",
    [
        "wraps at 50 %",
        "flips a bit in each 512 KiB",
        "is gone after 50 % written",
        "forgets what was not synced, pulled out after 64 calls",
        "lists other names",
        "takes half of each write",
    ],
)
def test_a_stick_that_lies(lie: str, sticks: Sticks) -> None:
    before = len(sticks.figures.escapes)
    sticks.one(lie)
    assert sticks.figures.escapes[before:] == []


def test_a_stick_that_breaks_is_no_escape(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends without writing down what it holds has lost it: nobody who wrote to it has."""
    require_fuse()
    sticks = Sticks(WRITERS[0], work)
    patience = Mounted.stop

    def stop(mounted: Mounted) -> None:
        monkeypatch.setattr(Mounted, "stop", patience)  # the first time only
        mounted.server.kill()
        patience(mounted)

    monkeypatch.setattr(Mounted, "stop", stop)
    sticks.one("is honest")
    assert sticks.figures.escapes == sticks.figures.lost == []
    assert ["ended with -9" in error for error in sticks.figures.broken] == [True]
    assert sum(sticks.figures.runs.values()) == 1


@pytest.mark.parametrize(
    ("what", "want"),
    [
        ("nothing", {"old": b"old!"}),
        ("names", {"new": b"old!", "folder": None, "folder/unsynced": b""}),
        ("zeros", {"new": b"old!\0\0", "folder": None, "folder/unsynced": b"\0\0\0"}),
        ("everything", {"new": b"old!++", "folder": None, "folder/unsynced": b"abc"}),
    ],
)
def test_what_outlives_a_cut_of_power(what: str, want: dict[str, bytes | None], tmp_path: Path) -> None:
    require_fuse()
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    recorder = Recorder(tmp_path / "recorder", folder)
    with (folder / "old").open("ab", buffering=0) as file:
        file.write(b"!")
        os.fsync(file.fileno())
        file.write(b"++")
    (folder / "old").rename(folder / "new")
    (folder / "folder").mkdir()
    (folder / "folder/unsynced").write_bytes(b"abc")
    sync_folder(folder / "folder")  # which has no name yet that is synced
    state = State((recording := recorder.stop()).beginning)
    for call in recording.calls:
        state.take(call)
    state.tree(lambda _: Survives(what), seeded()).write_to(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    assert {name: path.read_bytes() if path.is_file() else None for name, path in found.items()} == want


@pytest.mark.parametrize("name", ["pack", "tar", "volumes", "receive-half", "repair", "load-layout"])
def test_a_cut_of_power(name: str, work: Path, lean: ProcessPoolExecutor) -> None:
    require_fuse()
    figures = lean.submit(some_power_cuts, name, work).result()
    assert figures.escapes == []
    assert len(figures.runs) == len(CUTS)


def test_a_cut_of_power_while_a_site_is_made(work: Path) -> None:
    require_fuse()
    figures = Figures()
    init_cuts(World(work), figures, ["all names, files not synced are empty"])
    assert figures.escapes == []
    assert sum(figures.runs.values()) > 10


@pytest.mark.parametrize(
    ("name", "word", "want"),
    [
        ("repair", "blobs", "it ended well, and in the end stick/edge-0001/blobs"),
        ("repair", "ledger.jsonl", "it ended well, and the ledger does not say so"),
        ("load-archive", "received", "no high-water mark is stored"),
    ],
)
def test_a_cut_of_power_finds_what_is_not_synced(
    name: str, word: str, want: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_fuse()
    campaign = Campaign(STORIES[name], World(work))
    sync = os.fsync

    def forget(fd: int) -> None:
        if word not in Path(f"/proc/self/fd/{fd}").readlink().parts[-3:]:
            sync(fd)

    monkeypatch.setattr(os, "fsync", forget)
    recording = record(campaign.world, campaign.side, campaign.story.words)
    monkeypatch.undo()
    cut_at(campaign, recording, "only what was synced", [len(recording.calls)])
    assert any(want in escape for escape in campaign.figures.escapes), campaign.figures.escapes


def test_a_fault_that_escapes_is_found(work: Path) -> None:
    """The judge itself: a write that says it is done, and is not, is not believed."""
    campaign = Campaign(STORIES["resume"], World(work))
    writes = [number for number, call in enumerate(campaign.calls(("write",)), 1) if "/blobs/" in call]
    campaign.one(Fault(("write",), "lost", writes[0]))
    assert any("looks complete and fails verify" in escape for escape in campaign.figures.escapes)
