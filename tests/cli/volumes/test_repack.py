"""Bundles that are cut again."""

import itertools

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from tests.cli.conftest import Gap, files_of
from tests.cli.volumes.commands import media_of, repacked, whole_of
from tests.support.cut import TITLE, TOP, VOLUME_SIZE, part, stamps, volumes
from tests.support.damage import flip

SIGNED = ("bundle.dsse.json", "statement.json", "SHA256SUMS", "index.json")


@pytest.mark.parametrize(
    ("cut", "words", "count"),
    [
        (True, (), 1),
        (True, ("--volume-size", "8MB"), 2),
        (True, ("--volume-size", "4.3MB"), 3),
        (False, ("--volume-size", VOLUME_SIZE), 3),
        (False, ("--volume-size", "8MB"), 2),
        (False, (), 1),
        (False, ("--volume-size", "fat32"), 1),
    ],
)
def test_a_new_cut_keeps_the_signatures(gap: Gap, cut: bool, words: tuple[str, ...], count: int) -> None:
    sources = volumes(gap.folder) if cut else [whole_of(gap)]
    before = stamps(*sources)
    made = repacked(gap, sources, "--to", gap.folder / "d", *words)
    assert [path.name for path in made] == (
        [TITLE] if count == 1 else [f"{TITLE}.v{n}" for n in range(1, count + 1)]
    )
    signed = [*SIGNED, *(f"sig/{path.name}" for path in (whole_of(gap) / "sig").iterdir())]
    for folder in made:
        assert all((folder / name).read_bytes() == (whole_of(gap) / name).read_bytes() for name in signed)
    [value] = gap.offline("verify", *made, "--json").json["bundles"]
    assert value["files"] == 13
    assert stamps(*sources) == before
    if count == 1:
        assert files_of(made[0]) == files_of(whole_of(gap))


def test_a_cut_comes_back_to_the_same_bytes(gap: Gap) -> None:
    first = repacked(gap, [whole_of(gap)], "--to", gap.folder / "d", "--volume-size", "4.3MB")
    second = repacked(gap, first, *media_of(gap)[:0], "--to", gap.folder / "e", "--volume-size", VOLUME_SIZE)
    assert [files_of(path) for path in second] == [files_of(path) for path in volumes(gap.folder)]


def test_repack_again_writes_nothing(gap: Gap) -> None:
    words = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", "8MB")
    made = repacked(gap, [whole_of(gap)], *words)
    before = stamps(*made)
    done = gap.offline("repack", whole_of(gap), *words)
    assert done.out.splitlines() == [
        f"complete: {TITLE} on 2 volumes (8.5 MB, every blob was there already, and correct)",
        f"  volume 1: {made[0]}",
        f"  volume 2: {made[1]}",
        "these volumes were there and are small enough: to cut again, remove them or use other folders",
    ]
    assert stamps(*made) == before


@pytest.mark.parametrize("cut", [True, False])
def test_nothing_is_written_over_what_is_read(gap: Gap, cut: bool) -> None:
    """A damaged bundle that is copied onto itself would lose its envelope, and its only copy."""
    sources = volumes(gap.folder) if cut else [whole_of(gap)]
    flip((sources[0]) / TOP.path)
    contents = [files_of(path) for path in sources]
    to = media_of(gap) if cut else ["--to", gap.folder / "whole"]
    size = ("--volume-size", VOLUME_SIZE) if cut else ()
    commands: list[tuple[object, ...]] = [
        ("repack", *sources, *to, *size),
        ("repair", *sources, *itertools.chain(*(("--from", path) for path in sources))),
    ]
    if not cut:
        commands.append(("receive", *sources, "--into", gap.folder / "whole"))
    for command in commands:
        done = gap.offline(*command, code=2)
        assert f"the copy would be written over the bundle itself: {sources[0]}" in done.err
        assert "\nhint: " in done.err
        assert [files_of(path) for path in sources] == contents


def test_repack_does_not_ask_for_whom_it_is(gap: Gap) -> None:
    """The sending side cuts too."""
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    bundle = gap.online("pack", path, "--to", gap.folder / "d", "--json").json["bundle"]
    gap.online("repack", bundle, "--to", gap.folder / "e", "--volume-size", VOLUME_SIZE)
    assert gap.online.ended() == ("media-write", "ok", 0)
    gap.offline("verify", *(gap.folder / "e").iterdir(), code=15)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--to", "d", "--to", "e", "--volume-size", "4.2MB"), 11, "the bundle does not fit"),
        (("--to", "d", "--volume-size", "1"), 2, "not a size"),
    ],
)
def test_repack_refuses(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(gap.folder)
    assert message in gap.offline("repack", whole_of(gap), *words, code=code).err


def test_a_damaged_bundle_is_not_passed_on(gap: Gap) -> None:
    flip(part(gap.folder, 1), 10)
    done = gap.offline("repack", *volumes(gap.folder), "--to", gap.folder / "d", code=12)
    assert f"wrong digest: {part(gap.folder, 1)}, want " in done.err
    assert not (gap.folder / "d" / TITLE / ENVELOPE_FILE).exists()
    assert gap.offline.ended() == ("media-write", "refused", 12)
