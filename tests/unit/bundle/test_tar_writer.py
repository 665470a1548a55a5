"""Every file of a bundle's tar has its place from the start; what an earlier attempt left is mended there."""

import errno
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from airgap.bundle import tar_writer as tar_store
from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.tar_writer import TarStore
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    EndpointError,
    MediaError,
    NoSpaceError,
    SizeMismatchError,
)
from airgap.oci.digest import CHUNK, Digest
from airgap.oci.documents import Descriptor
from tests.support.images import noise
from tests.support.streams import BrokenStream, Bytes

RAWS = [b"", b"x", noise(512, 1), noise(1000, 2), noise(CHUNK + 1, 3)]
BLOBS = {Digest.of(raw): raw for raw in RAWS}
SIZES = {digest: len(raw) for digest, raw in BLOBS.items()}
SMALL = {"bundle.dsse.json": b"{}", "statement.json": noise(700, 4), "empty": b""}
BIG = Digest.of(RAWS[-1])


def blob(digest: Digest) -> Descriptor:
    return Descriptor("application/octet-stream", digest, SIZES[digest])


class Making:
    """One attempt at the tar."""

    def __init__(self, path: Path, small=SMALL, sizes=SIZES) -> None:
        self.store = TarStore(path, small, sizes)
        self.advanced = 0

    def __enter__(self) -> Self:
        self.store.open()
        return self

    def __exit__(self, *_) -> None:
        self.store.close()

    def advance(self, count: int) -> None:
        self.advanced += count

    def fetch(self, digest: Digest, raw: bytes | None = None) -> None:
        content = BLOBS[digest] if raw is None else raw
        self.store.fetch(blob(digest), lambda _: Bytes(content, 700), advance=self.advance, subject="app")

    def fetch_all(self, digests=BLOBS) -> None:
        for digest in digests:
            self.fetch(digest)

    def found(self) -> set[Digest]:
        """What was there already, and right."""
        present = [digest for digest in BLOBS if self.store.present(digest)]
        return {digest for digest in present if self.store.check(digest, SIZES[digest], self.advance)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stick" / "stack-0001.tar"


def make(path: Path) -> bytes:
    with Making(path) as making:
        making.fetch_all()
        making.store.commit()
    return path.read_bytes()


def test_fresh(path):
    with Making(path) as making:
        assert not making.store.resumed
        assert making.found() == set()
        making.fetch_all()
        assert not path.exists()
        making.store.commit()
        assert making.store.written == len(BLOBS)
        assert making.store.sums == {digest: (digest.hex, size) for digest, size in SIZES.items()}
        assert making.advanced == sum(SIZES.values())
        assert path.stat().st_size == making.store.total
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_read_back(path, tmp_path):
    make(path)
    files = SMALL | {digest.path: raw for digest, raw in BLOBS.items()}
    with TarFolder(path) as folder:
        assert {name: folder.read(name, 2 * CHUNK) for name in files} == files
        names = [file.name for file in folder.files({"blobs/sha256"})]
    assert names == [*SMALL, *(digest.path for digest in sorted(BLOBS))]
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True).stdout
    assert listed.split() == names
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", path, "-C", out], check=True)
    assert {name: (out / name).read_bytes() for name in files} == files


def test_order_and_threads_do_not_show(path, tmp_path):
    raw = make(path)
    digests = list(BLOBS)
    random.Random(7).shuffle(digests)
    sizes = {digest: SIZES[digest] for digest in digests}
    other = tmp_path / "other.tar"
    with Making(other, sizes=sizes) as making, ThreadPoolExecutor(4) as pool:
        list(pool.map(making.fetch, digests))
        making.store.commit()
    assert other.read_bytes() == raw


def test_without_blobs(path):
    with Making(path, sizes={}) as making:
        making.store.commit()
    with TarFolder(path) as folder:
        assert {name: folder.read(name, 1000) for name in SMALL} == SMALL


def test_resumed(path):
    done = list(BLOBS)[2:4]
    with Making(path) as making:
        making.fetch_all(done)
    assert not path.exists()
    with Making(path) as making:
        assert making.store.resumed
        assert not making.store.present(Digest.of(b"a stranger"))
        assert making.found() >= set(done)
        assert BIG not in making.store.sums
        making.fetch_all(set(BLOBS) - set(making.store.sums))
        making.store.commit()
    assert path.read_bytes() == make(path.with_name("other.tar"))


def test_finished_is_taken_up_and_read(path):
    raw = make(path)
    with Making(path) as making:
        assert making.found() == set(BLOBS)
        assert making.advanced == sum(SIZES.values())
        assert making.store.written == 0
        making.store.commit()
    assert path.read_bytes() == raw


@pytest.mark.parametrize("digest", [digest for digest in BLOBS if SIZES[digest]], ids=lambda d: str(SIZES[d]))
def test_damage_is_mended_in_place(path, digest):
    raw = make(path)
    at = raw.index(header_of(digest)) + 512
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    inode = path.stat().st_ino
    with Making(path) as making:
        assert making.found() == set(BLOBS) - {digest}
        making.fetch(digest)
        making.store.commit()
        assert making.store.written == 1
    assert path.read_bytes() == raw
    assert path.stat().st_ino == inode


def header_of(digest: Digest) -> bytes:
    return digest.path.encode().ljust(100, b"\0")


@pytest.mark.parametrize("at", [0, 520, -1, -1500])
def test_damaged_frames_are_written_anew(path, at):
    raw = bytearray(make(path))
    whole = bytes(raw)
    raw[at] ^= 0x55
    path.write_bytes(raw)
    with Making(path) as making:
        making.fetch_all(set(BLOBS) - making.found())
        making.store.commit()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("size", [0, 100, -512, 512], ids=str)
def test_a_part_of_another_size_is_begun_anew(path, size):
    raw = make(path)
    left = raw[:size] if size <= 100 else raw + bytes(size)
    path.unlink()
    path.with_name(path.name + ".part").write_bytes(left)
    with Making(path) as making:
        assert not making.store.resumed
        assert making.found() == set()
        making.fetch_all()
        making.store.commit()
    assert path.read_bytes() == raw


def test_empty_blob_needs_no_byte(path):
    empty = Digest.of(b"")
    with Making(path) as making:
        making.fetch(empty)
        assert making.store.check(empty, 0)
    assert making.advanced == 0


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (RAWS[-1][:-1] + b"?", DigestMismatchError),
        (RAWS[-1][:-1], SizeMismatchError),
        (RAWS[-1] + b"?", SizeMismatchError),
        (b"", SizeMismatchError),
    ],
)
def test_wrong_content_is_refused_and_harms_no_neighbour(path, raw, error):
    with Making(path) as making:
        making.fetch_all(set(BLOBS) - {BIG})
        with pytest.raises(error, match="app"):
            making.fetch(BIG, raw)
        assert BIG not in making.store.sums
        assert making.store.written == len(BLOBS) - 1
    with Making(path) as making:
        assert making.found() == set(BLOBS) - {BIG}


def test_a_source_that_breaks_off_is_closed(path):
    stream = BrokenStream(RAWS[-1][:9], EndpointError("broke off"))
    with Making(path) as making, pytest.raises(EndpointError, match="broke off"):
        making.store.fetch(blob(BIG), lambda _: stream)
    assert stream.closed


# -- media that fail


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EIO, MediaError)]
)
@pytest.mark.parametrize("call", ["open", "ftruncate", "pwrite", "fsync"])
def test_media_errors_at_the_beginning(path, monkeypatch, code, error, call):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    store = TarStore(path, SMALL, SIZES)
    monkeypatch.setattr(tar_store.os, call, fail)
    with pytest.raises(error, match=f"cannot write: {store.part}") as raised:
        store.open()
    assert type(raised.value) is error
    monkeypatch.undo()
    store.close()
    assert make(path)


def test_the_head_is_durable_before_the_site_takes_down_the_place(path, monkeypatch):
    """Else a cut of power leaves a place in the stream that no tar tells to be its own."""
    synced: dict[Path, bytes] = {}

    def fsync(fd):
        found = Path(f"/proc/self/fd/{fd}").readlink()
        synced[found] = found.read_bytes() if found.is_file() else b""

    monkeypatch.setattr(os, "fsync", fsync)
    with Making(path) as making:
        head = synced[making.store.part]
        assert len(head) == making.store.total
        assert all(raw in head for raw in SMALL.values())
        assert path.parent in synced


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, NoSpaceError), (errno.EIO, MediaError)])
def test_media_errors_later(path, monkeypatch, code, error):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with Making(path) as making:
        with monkeypatch.context() as patch:
            patch.setattr(tar_store.os, "pwrite", fail)
            with pytest.raises(error):
                making.fetch(BIG)
        making.fetch_all()
        with monkeypatch.context() as patch:
            patch.setattr(tar_store.os, "fsync", fail)
            with pytest.raises(error):
                making.store.commit()
        head = making.store.part.stat().st_size
    # what could not be synced is clean in the cache: it must not be gone on with, but for the head
    assert 0 < head < making.store.total
    with Making(path) as making:
        assert not making.store.resumed
    assert make(path)


def test_short_writes(path, tmp_path, monkeypatch):
    write = os.pwrite
    whole = make(tmp_path / "other.tar")
    monkeypatch.setattr(tar_store.os, "pwrite", lambda fd, data, at: write(fd, data[:60_000], at))
    assert make(path) == whole


def link(part: Path) -> None:
    part.symlink_to(part.parent / "elsewhere")


@pytest.mark.parametrize("spoil", [link, Path.mkdir, os.mkfifo])
def test_a_part_that_is_no_file(path, spoil):
    store = TarStore(path, SMALL, SIZES)
    path.parent.mkdir()
    spoil(store.part)
    with pytest.raises(AirgapError, match="cannot write"):
        store.open()
    store.close()
    assert not (path.parent / "elsewhere").exists()


def test_a_store_may_be_closed_twice(path):
    store = TarStore(path, SMALL, SIZES)
    store.close()
    store.open()
    store.close()
    store.close()
