"""Volumes that are repaired, and packed again."""

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import write_all
from airgap.bundle.volume_table import VolumeTable
from airgap.cli.main import main
from tests.cli.conftest import Gap, Side, files_of
from tests.cli.volumes.commands import (
    PROOF,
    Harm,
    media_of,
    other_bundle,
    repair,
    repair_command,
    size_of,
    some,
    table_of,
    whole_of,
)
from tests.support.cut import API, BASE, BIG, TITLE, TOP, VOLUME_SIZE, part, stamps, volumes
from tests.support.damage import flip

# -- repair, and pack again


def pack_command(gap: Gap) -> tuple[Side, list[object]]:
    return gap.online, ["pack", gap.folder / "stack.yaml", *media_of(gap), "--volume-size", VOLUME_SIZE]


def pack_again(gap: Gap) -> None:
    side, words = pack_command(gap)
    side(*words)


MENDS = [pack_again, repair]


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize(
    ("harmed", "harm"),
    [(1, flip), (2, lambda path: os.truncate(path, 1000)), (3, Path.unlink)],
    ids=["flip", "cut", "remove"],
)
def test_only_the_part_that_is_wrong_is_written(
    gap: Gap, mend: Callable[[Gap], None], harmed: int, harm: Harm
) -> None:
    folders = volumes(gap.folder)
    path = part(gap.folder, harmed)
    before, contents = stamps(*folders), [files_of(folder) for folder in folders]
    harm(path)
    mend(gap)
    after = stamps(*folders)
    changed = {name for name in after if after[name] != before.get(name)}
    name = f"{folders[harmed - 1].name}/{path.relative_to(folders[harmed - 1])}"
    # the envelope is the commit point: it is taken away before the first byte, and written last
    assert changed == {name} | {f"{folder.name}/{ENVELOPE_FILE}" for folder in folders}
    assert [files_of(folder) for folder in folders] == contents
    gap.offline("verify", *folders)


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "statement.json",
        "bundle.dsse.json",
        "volume.json",
        API.descriptor.digest.path,
    ],
)
def test_small_files_are_mended_where_they_are_wrong(
    gap: Gap, mend: Callable[[Gap], None], name: str
) -> None:
    folders = volumes(gap.folder)
    before, contents = stamps(*folders), [files_of(folder) for folder in folders]
    flip(folders[1] / name, 1)
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents
    after = stamps(*folders)
    changed = {each for each in after if after[each] != before[each]}
    # The envelope goes away before what it covers changes; a copy of a document is covered by the others.
    again = {name} if name.startswith("blobs/") else {name, ENVELOPE_FILE}
    assert changed == {f"{folders[1].name}/{each}" for each in again}


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize("harmed", [1, 3])
def test_a_medium_that_is_full_can_be_mended(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, mend: Callable[[Gap], None], harmed: int
) -> None:
    """The wrong file goes before the right one comes: volumes are filled to the brim."""
    folders = volumes(gap.folder)
    full = [size_of(folder) for folder in folders]
    most = list(full)

    def write(fd: int, data: memoryview) -> None:
        write_all(fd, data)
        most[:] = [max(size_of(folder), before) for folder, before in zip(folders, most, strict=True)]

    monkeypatch.setattr("airgap.bundle.blob_files.write_all", write)
    flip(part(gap.folder, harmed), 9)
    flip(folders[0] / BASE.path, 9)
    mend(gap)
    assert all(after - before < 20_000 for before, after in zip(full, most, strict=True))
    gap.offline("verify", *folders)


def test_a_medium_without_a_free_byte_is_checked_and_mended(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SimpleNamespace(f_frsize=1, f_blocks=1 << 30, f_bavail=0, f_flag=0)
    monkeypatch.setattr("os.statvfs", lambda _path: space)
    pack_again(gap)
    flip(part(gap.folder, 2))
    pack_again(gap)
    gap.offline("verify", *volumes(gap.folder))


def break_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C instead of the step of this number; whatever changes a medium or a ledger is a step."""
    steps = itertools.count()

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            if next(steps) == after:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "write"), (os, "fsync")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("command", [pack_command, repair_command])
def test_mending_can_be_broken_off_anywhere(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, command: Callable[[Gap], tuple[Side, list[object]]]
) -> None:
    """No half state looks complete, and the same command once more ends it."""
    side, words = command(gap)
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    monkeypatch.setenv("AIRGAP_HOME", str(side.home))
    codes = []
    for after in range(0, 1000, 13):  # tests.faults breaks off everywhere
        flip(part(gap.folder, 2), 9)
        (folders[0] / "index.json").unlink()
        with monkeypatch.context() as patch:
            break_off(patch, after)
            codes.append(main([str(word) for word in words]))
        if [files_of(folder) for folder in folders] != contents:
            assert main(["verify", *map(str, folders)]) in (12, 19)
            side(*words)
        side("verify", *folders)
        assert [files_of(folder) for folder in folders] == contents
        if codes[-1] == 0:
            break
    assert set(codes[:-1]) == {130}
    assert len(codes) > 5


@pytest.mark.parametrize("mend", MENDS)
def test_a_volume_that_was_lost_is_made_again(gap: Gap, mend: Callable[[Gap], None]) -> None:
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    before = stamps(*some(gap, 1, 3))
    shutil.rmtree(folders[1])
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents
    after = stamps(*some(gap, 1, 3))
    assert {name for name in after if after[name] != before[name]} == {
        f"{folder.name}/{ENVELOPE_FILE}" for folder in some(gap, 1, 3)
    }


@pytest.mark.parametrize("mend", MENDS)
def test_several_harms_are_mended_at_once(gap: Gap, mend: Callable[[Gap], None]) -> None:
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    flip(part(gap.folder, 1), 7)
    part(gap.folder, 3).unlink()
    flip(folders[0] / TOP.path)
    (folders[2] / "index.json").unlink()
    (folders[1] / "blobs/sha256/stray").write_bytes(b"x")
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents


def test_repair_of_what_is_right_writes_nothing(gap: Gap) -> None:
    folders = volumes(gap.folder)
    before = stamps(*folders)
    value = gap.offline("repair", *folders, "--from", whole_of(gap), "--json").json
    assert (
        value.keys()
        == {"bundle", "volumes", "statement_sha256", "sender_name", "bytes", "blobs_written"} | PROOF
    )
    assert (value["volumes"], value["blobs_written"]) == (list(map(str, folders)), 0)
    assert stamps(*folders) == before
    end = gap.offline.records()[-1]
    assert (end["event"], end["result"], end["written"], end["volumes"]) == ("media-write", "ok", 0, 3)


@pytest.mark.parametrize("wrong", [BASE, BIG, TOP])
def test_a_whole_copy_is_mended_from_volumes(gap: Gap, wrong: object) -> None:
    bundle = whole_of(gap)
    contents, before = files_of(bundle), stamps(bundle)
    flip(bundle / wrong.path, 50)  # type: ignore[attr-defined]
    sources = itertools.chain(*(("--from", path) for path in some(gap, 3, 2, 1)))
    done = gap.offline("repair", bundle, *sources)
    assert done.out == f"complete: {bundle} (8.5 MB, 1 blob written)\n"
    assert files_of(bundle) == contents
    after = stamps(bundle)
    assert {name for name in after if after[name] != before[name]} == {
        f"{TITLE}/{wrong.path}",  # type: ignore[attr-defined]
        f"{TITLE}/{ENVELOPE_FILE}",
    }


def test_a_copy_that_is_damaged_elsewhere_mends_all_the_same(gap: Gap) -> None:
    contents = [files_of(folder) for folder in volumes(gap.folder)]
    flip(whole_of(gap) / TOP.path)
    flip(part(gap.folder, 2))
    repair(gap)
    assert [files_of(folder) for folder in volumes(gap.folder)] == contents


def test_a_copy_with_the_same_damage_does_not(gap: Gap) -> None:
    flip(whole_of(gap) / BIG.path, 5_000_000)
    flip(part(gap.folder, 2))
    before = {n: part(gap.folder, n).read_bytes() for n in (1, 3)}
    done = gap.offline("repair", *volumes(gap.folder), "--from", whole_of(gap), code=12)
    assert f"wrong digest: {whole_of(gap)}/{BIG.path}, want " in done.err
    gap.offline("verify", *volumes(gap.folder), code=19)
    assert gap.offline.ended() == ("verify", "failed", 19)
    assert {n: part(gap.folder, n).read_bytes() for n in (1, 3)} == before
    flip(whole_of(gap) / BIG.path, 5_000_000)
    repair(gap)
    gap.offline("verify", *volumes(gap.folder))


@pytest.mark.parametrize(
    ("numbers", "got"),
    [((1,), "{1}"), ((2, 3), "{2}, {3}"), ((1, 2), "{1}, {2}")],
)
def test_volumes_are_mended_together(gap: Gap, numbers: tuple[int, ...], got: str) -> None:
    done = gap.offline("repair", *some(gap, *numbers), "--from", whole_of(gap), code=2)
    names = got.format("", *volumes(gap.folder))
    assert (
        f"all volumes must be repaired together: {TITLE}, want the folders of 3 volumes, got {names}"
        in done.err
    )
    assert "hint: name all volumes, or make new ones" in done.err


@pytest.mark.parametrize(
    "change", [lambda raw: raw.replace(b'"size":', b'"size":1', 1), lambda raw: raw[:50]]
)
def test_a_table_that_lies_does_no_harm(gap: Gap, change: Callable[[bytes], bytes]) -> None:
    """The cut is taken from the volumes whose table is one of this bundle's layers."""
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    table_of(change)(folders[0])
    repair(gap)
    assert [files_of(folder) for folder in folders] == contents
    for folder in folders:
        table_of(change)(folder)
    done = gap.offline("repair", *folders, "--from", whole_of(gap), code=2)
    assert "want a volume.json that records the cut" in done.err


def test_sums_of_parts_that_lie_cost_only_time(gap: Gap) -> None:
    """They say which parts to leave alone; what is right is told by the layer's digest."""
    contents = [files_of(folder) for folder in volumes(gap.folder)]
    for folder in volumes(gap.folder):
        table = VolumeTable.parse((folder / "volume.json").read_bytes(), "x")
        first, second, third = table.cut.parts[BIG]
        table.cut.parts[BIG] = (first, replace(second, sha256=first.sha256), third)
        (folder / "volume.json").write_bytes(table.to_bytes())
    flip(part(gap.folder, 3))
    repair(gap)
    assert [files_of(folder) for folder in volumes(gap.folder)] == contents


@pytest.mark.parametrize("name", [f"{TITLE}.v2", TITLE])
def test_one_volume_without_its_table_is_not_taken_for_a_bundle(gap: Gap, name: str) -> None:
    folder = volumes(gap.folder)[1].rename(gap.folder / name)
    table_of(lambda raw: raw[:50])(folder)
    before = stamps(folder)
    gap.offline("repair", folder, "--from", whole_of(gap), code=2)
    assert stamps(folder) == before


def test_repair_refuses_another_bundle(gap: Gap) -> None:
    others = other_bundle(gap)
    before = stamps(*others)
    done = gap.offline("repair", *others, "--from", whole_of(gap), code=2)
    assert f"--from is not a copy of this bundle: {others[0]}, want a copy with statement sha256:" in done.err
    assert f", got {TITLE}, statement sha256:" in done.err
    assert "hint: name a copy of this bundle with --from" in done.err
    assert stamps(*others) == before


def test_a_tar_is_not_mended(gap: Gap) -> None:
    path = gap.folder / "x.tar"
    path.write_bytes(b"tar")
    assert (
        f"a tar cannot be repaired: {path}"
        in gap.offline("repair", path, "--from", whole_of(gap), code=2).err
    )
    assert path.read_bytes() == b"tar"


def test_a_copy_by_strangers_mends_nothing(gap: Gap, fresh: Side) -> None:
    fresh("init", "--owner", "mallory", "--site", "hq")
    strange = fresh("pack", gap.folder / "stack.yaml", "--to", gap.folder / "d", "--json").json["bundle"]
    before = stamps(*volumes(gap.folder))
    gap.offline("repair", *volumes(gap.folder), "--from", strange, code=13)
    assert stamps(*volumes(gap.folder)) == before
    assert gap.offline.ended() == ("media-write", "refused", 13)
