"""Bundles that are cut over several volumes: made, checked, loaded in place, put together, cut anew, mended."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gap, Side, files_of
from tests.support.cut import BIG, MEDIA, VOLUME_SIZE, flip, make_cut, part, stamps, volumes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cut(tmp_path_factory.mktemp("cut"))


@pytest.fixture
def gap(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """Both sides, three volumes, and a whole copy, to be spoilt."""
    folder = tmp_path / "gap"
    shutil.copytree(template, folder)
    return Gap(folder, Side(folder / "hq", capsys), Side(folder / "plant", capsys))


def media_of(gap: Gap) -> list[object]:
    """The options of `pack` that name the three media."""
    return [word for name in MEDIA for word in ("--to", gap.folder / name)]


# -- mending


def pack_again(gap: Gap) -> None:
    gap.online("pack", gap.folder / "stack.yaml", *media_of(gap), "--volume-size", VOLUME_SIZE)


def repair(gap: Gap) -> None:
    gap.offline("repair", *volumes(gap.folder), "--from", gap.folder / "whole" / "stack-0001")


@pytest.mark.parametrize("mend", [pack_again, repair])
@pytest.mark.parametrize("harmed", [1, 2, 3])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_only_the_part_that_is_wrong_is_written(gap: Gap, mend, harmed: int, harm: str) -> None:
    folders = volumes(gap.folder)
    path = part(gap.folder, harmed)
    before, contents = stamps(*folders), [files_of(folder) for folder in folders]
    if harm == "flip":
        flip(path, 1000)
    elif harm == "cut":
        with path.open("r+b") as file:
            file.truncate(1000)
    else:
        path.unlink()
    mend(gap)
    after = stamps(*folders)
    changed = {name for name in after if after[name] != before.get(name)}
    name = f"{folders[harmed - 1].name}/{path.relative_to(folders[harmed - 1])}"
    # the envelope is the commit point: it is taken away before the first byte, and written last
    assert changed == {name} | {f"{folder.name}/bundle.dsse.json" for folder in folders}
    assert [files_of(folder) for folder in folders] == contents
    gap.offline("verify", *folders)
