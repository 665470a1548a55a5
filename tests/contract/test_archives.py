"""What every target does that writes archives: whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from airgap.endpoints.archive import ArchiveFile
from airgap.endpoints.images_folder import DISTRIBUTIONS, ImagesFolder
from airgap.errors import DigestMismatchError, MediaError
from airgap.oci.reference import ImageReference

NAME = ImageReference.parse("ghcr.io/acme/api:1")

Write = Callable[[Iterable[bytes]], None]


def archive(folder: Path) -> Write:
    return ArchiveFile(folder / "images.tar").write


def images_folder(kind: str) -> Callable[[Path], Write]:
    def make(folder: Path) -> Write:
        return lambda tar: ImagesFolder(f"{kind}:{folder}").put_archive(NAME, tar)

    return make


WORLDS = {"archive": archive, **{kind: images_folder(kind) for kind in DISTRIBUTIONS}}


@pytest.fixture(params=WORLDS.values(), ids=WORLDS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    return request.param(tmp_path / "new" / "folder")


def held(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]


def test_the_folder_is_made(write: Write, tmp_path: Path):
    write(iter([b"one ", b"archive"]))
    assert held(tmp_path) == [b"one archive"]


def test_a_second_one_takes_the_place(write: Write, tmp_path: Path):
    write(iter([b"a longer archive"]))
    write(iter([b"short"]))
    assert held(tmp_path) == [b"short"]


@pytest.mark.parametrize("error", [DigestMismatchError("wrong"), KeyboardInterrupt(), MediaError("gone")])
def test_when_the_content_fails_the_old_one_stays(write: Write, tmp_path: Path, error: BaseException):
    def tar() -> Iterator[bytes]:
        yield b"new"
        raise error

    with pytest.raises(type(error)):
        write(tar())
    assert held(tmp_path) == []
    write(iter([b"old"]))
    with pytest.raises(type(error)):
        write(tar())
    assert held(tmp_path) == [b"old"]


def test_leftovers_of_a_killed_write_do_not_block_the_next(write: Write, tmp_path: Path):
    write(iter([b"old"]))
    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.with_name(path.name + ".part").write_bytes(b"much more than is new")
    write(iter([b"new"]))
    assert held(tmp_path) == [b"new"]


def test_a_link_is_not_followed(write: Write, tmp_path: Path):
    write(iter([b"old"]))
    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    path.with_name(path.name + ".part").symlink_to(elsewhere)
    write(iter([b"new"]))
    assert elsewhere.read_bytes() == b"precious"
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be(write: Write, tmp_path: Path):
    (tmp_path / "new").write_text("a file")
    with pytest.raises(MediaError, match="cannot write"):
        write(iter([b"new"]))
