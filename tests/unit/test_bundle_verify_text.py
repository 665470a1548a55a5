"""What VERIFY.txt says of volumes, done by a shell and stock tools over a bundle that is cut."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bundles import Gap, make_gap
from tests.support.volumes import Volumes, cut_over, in_turn, layers_in, noisy_images

GOOD = "share is good\n"
WHOLE = ["Verified OK", "listed", "complete", "nothing else"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), images=noisy_images())


@pytest.fixture(scope="module")
def cut(made, tmp_path_factory) -> Volumes:
    layers = layers_in(made.bundle)
    return cut_over(made.bundle, tmp_path_factory.mktemp("cut"), in_turn(layers, 3), of=3)


@pytest.fixture
def volumes(cut, tmp_path) -> Volumes:
    return cut.copy(tmp_path)


@pytest.fixture(scope="module")
def parted(made) -> str:
    """The blob that is in five parts, the last three of them on volume 3."""
    layers = layers_in(made.bundle)
    return max(layers, key=lambda name: (layers[name], name))


def commands(bundle: Path, chapter: int) -> list[str]:
    """The commands of a numbered chapter of the text in this very bundle."""
    text = (bundle / "VERIFY.txt").read_bytes().decode("ascii")
    found = re.search(rf"(?ms)^{chapter}\. (.*?)(?=^\d\. |\Z)", text)
    assert found, chapter
    return [line.strip() for line in found[1].splitlines() if line.startswith("     ")]


def shell(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    script = "\n".join(lines)
    env = os.environ | {"LC_ALL": "C"}
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False, env=env
    )


def share_is_good(volume: Path) -> bool:
    share, *_ = commands(volume, 8)
    done = shell(volume, share)
    assert (done.returncode == 0) == (done.stdout == GOOD), done
    return done.stdout == GOOD


def signature_and_list(volume: Path, made: Gap) -> list[str]:
    """What chapters 1 to 3 answer, but for the line with the key's id."""
    key = made.folder / "signer.pub"
    key.write_bytes(made.key.public_key.pem.encode())
    lines = commands(volume, 1) + commands(volume, 2)[:2] + commands(volume, 3)
    done = shell(volume, *(line.replace("/path/to/signer.pub", str(key)) for line in lines))
    keyid, *answers = done.stdout.splitlines()
    assert keyid == f"{made.key.public_key.keyid}  -"
    return answers


def gathered(volumes: Volumes, parted: str, folder: Path) -> Path:
    """All parts of a blob in one folder."""
    folder.mkdir()
    for number in range(len(volumes.on(parted))):
        path = volumes.part(parted, number)
        if path.exists():
            shutil.copy(path, folder)
    return folder


def sum_of_parts(volumes: Volumes, parted: str, folder: Path) -> str:
    name = parted.rpartition("/")[2]
    done = shell(gathered(volumes, parted, folder), commands(volumes[1], 8)[1].replace("HEX", name))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def joined(volumes: Volumes, folder: Path, *numbers: int) -> Path:
    """One folder of the volumes, as the text says."""
    folder.mkdir()
    _, _, copy, *join = commands(volumes[1], 8)
    done = shell(folder, *(copy.replace("/path/to/volume", str(volumes[n])) for n in numbers), *join)
    assert done.returncode == 0, done.stderr
    return folder


def answers_of(bundle: Path, made: Gap, tmp_path: Path) -> list[str]:
    lines = [line.replace("/tmp/", f"{tmp_path}/") for n in (4, 5) for line in commands(bundle, n)]
    return signature_and_list(bundle, made) + shell(bundle, *lines).stdout.splitlines()


def test_every_share_of_a_cut_bundle_is_good(made, cut):
    for number in (1, 2, 3):
        assert signature_and_list(cut[number], made) == WHOLE[:2]
        assert share_is_good(cut[number])


def test_a_share_with_a_harmed_file_is_not_good(volumes, parted):
    (lone,) = (name for name in layers_in(volumes[2]) if name in (volumes[2] / "SHA256SUMS").read_text())
    path = volumes[2] / lone
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert [share_is_good(volumes[n]) for n in (1, 2, 3)] == [True, False, True]


def test_gathered_parts_have_the_sum_that_is_listed(cut, parted, tmp_path):
    found = sum_of_parts(cut, parted, tmp_path / "parts")
    assert f"{found}  {parted}\n" in (cut[1] / "SHA256SUMS").read_text()


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")],
    ids=["gone", "harmed"],
)
def test_parts_that_are_not_all_right_have_another_sum(volumes, parted, tmp_path, number, harm):
    path = volumes.part(parted, number)
    before = path.read_bytes()
    harm(path)
    assert not path.exists() or path.read_bytes() != before
    found = sum_of_parts(volumes, parted, tmp_path / "parts")
    assert found not in (volumes[1] / "SHA256SUMS").read_text()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_joined_volumes_are_the_bundle_that_was_cut(made, cut, tmp_path, order):
    whole = joined(cut, tmp_path / "whole", *order)
    found = {p.relative_to(whole).as_posix(): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert found == made.files()
    assert answers_of(whole, made, tmp_path) == WHOLE


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_joined_volumes_without_one_are_not_complete(made, cut, tmp_path, missing):
    whole = joined(cut, tmp_path / "whole", *({1, 2, 3} - {missing}))
    assert "complete" not in answers_of(whole, made, tmp_path)


def test_joining_writes_through_no_link(made, volumes, parted, tmp_path):
    """A volume may hold links to this machine's files in the place of what another volume brings."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"keep")
    for name in ("index.json", parted):
        (volumes[1] / name).unlink(missing_ok=True)
        (volumes[1] / name).symlink_to(mine)
    whole = joined(volumes, tmp_path / "whole", 1, 2, 3)
    assert mine.read_bytes() == b"keep"
    assert answers_of(whole, made, tmp_path) == WHOLE
