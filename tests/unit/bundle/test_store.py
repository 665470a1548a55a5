"""Blobs that are fetched, checked and put into a bundle."""

import errno
import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.bundle.store import BlobStore
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    MediaError,
    NoSpaceError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import Digest
from tests.support.streams import BrokenStream, Bytes
from tests.unit.bundle.store_support import ALGORITHMS, RAW, SHA256, SHA512, Source, blob, put


class TestCheck:
    @ALGORITHMS
    def test_right(self, store, digest):
        put(store, digest, RAW)
        seen = []
        assert store.check(digest, len(RAW), seen.append)
        assert sum(seen) == len(RAW)
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        store.path(digest).unlink()
        assert store.check(digest, len(RAW)), "read once is read"

    @pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"x", RAW[:-1] + b"x"])
    def test_wrong(self, store, raw):
        put(store, SHA256, raw)
        assert not store.check(SHA256, len(RAW))
        assert store.sums == {}

    def test_absent(self, store):
        assert not store.check(SHA256, len(RAW))

    def test_a_pipe_is_not_waited_for(self, store):
        path = put(store, SHA256, b"")
        path.unlink()
        os.mkfifo(path)
        assert not store.check(SHA256, len(RAW))

    def test_a_link_is_not_followed(self, store, tmp_path):
        (tmp_path / "other").write_bytes(RAW)
        path = put(store, SHA256, b"")
        path.unlink()
        path.symlink_to(tmp_path / "other")
        with pytest.raises(MediaError, match="cannot read"):
            store.check(SHA256, len(RAW))

    def test_a_file_for_the_folder(self, store):
        store.folder.mkdir()
        (store.folder / "blobs").write_bytes(b"")
        for act in (lambda: store.check(SHA256, 3), lambda: store.fetch(blob(), Source())):
            with pytest.raises(MediaError, match="cannot read"):
                act()


class TestFetch:
    @ALGORITHMS
    def test_all_of_it(self, store, digest):
        seen, source = [], Source()
        store.fetch(blob(digest), source, advance=seen.append)
        assert store.path(digest).read_bytes() == RAW
        assert (sum(seen), source.offsets, store.written) == (len(RAW), [0], 1)
        assert store.sums == {digest: (SHA256.hex, len(RAW))}
        store.fetch(blob(digest), source)
        assert source.offsets == [0]

    def test_an_empty_blob(self, store):
        digest = Digest.of(b"")
        store.fetch(blob(digest, 0), Source(b""))
        assert store.path(digest).read_bytes() == b""

    @ALGORITHMS
    @pytest.mark.parametrize("done", [1, 5000, len(RAW) - 1, len(RAW)])
    def test_goes_on_where_it_stopped(self, store, digest, done):
        put(store, digest, RAW[:done], ".part")
        seen, source = [], Source()
        store.fetch(blob(digest), source, advance=seen.append)
        assert source.offsets == ([done] if done < len(RAW) else [])
        assert store.path(digest).read_bytes() == RAW
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        assert sum(seen) == len(RAW)

    @pytest.mark.parametrize("left", [b"x", b"x" * len(RAW), RAW + b"x"])
    def test_starts_anew_when_what_was_left_is_wrong(self, store, left):
        put(store, SHA256, left, ".part")
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets[-1] == 0
        assert store.path(SHA256).read_bytes() == RAW

    def test_starts_anew_when_the_source_cannot_go_on(self, store):
        put(store, SHA256, RAW[:10], ".part")
        source = Source(seeks=False)
        store.fetch(blob(), source)
        assert source.offsets == [10, 0]

    def test_keeps_what_it_has_when_the_source_is_away(self, store):
        part = put(store, SHA256, RAW[:10], ".part")

        def away(_: int) -> Bytes:
            raise UnavailableError("away")

        with pytest.raises(UnavailableError):
            store.fetch(blob(), away)
        assert part.read_bytes() == RAW[:10]

    def test_a_break_leaves_what_came(self, store):
        part = store.path(SHA256).with_name(f"{SHA256.hex}.part")
        with pytest.raises(UnavailableError):
            store.fetch(blob(), lambda _: BrokenStream(RAW[:4000], UnavailableError("gone")))
        assert part.read_bytes() == RAW[:4000]
        assert not store.path(SHA256).exists()
        store.fetch(blob(), Source())
        assert store.path(SHA256).read_bytes() == RAW

    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            (RAW[:-1], SizeMismatchError),
            (RAW + b"x", SizeMismatchError),
            (b"x" + RAW[1:], DigestMismatchError),
        ],
    )
    def test_wrong_content_leaves_nothing(self, store, raw, error):
        with pytest.raises(error, match="the subject"):
            store.fetch(blob(), Source(raw), subject="the subject")
        assert list(store.path(SHA256).parent.iterdir()) == []
        assert store.sums == {}

    def test_a_folder_in_the_way_of_the_part(self, store):
        path = put(store, SHA256, b"", ".part")
        path.unlink()
        path.mkdir()
        with pytest.raises(MediaError, match="cannot write"):
            store.fetch(blob(), Source())

    @pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to(p.parent / "kept")])
    def test_a_link_or_a_pipe_in_the_way_of_the_part(self, store, make):
        kept = put(store, SHA256, b"kept", ".part").rename(store.path(SHA256).parent / "kept")
        make(store.path(SHA256).with_name(SHA256.hex + ".part"))
        store.fetch(blob(), Source())
        assert (kept.read_bytes(), store.path(SHA256).read_bytes()) == (b"kept", RAW)

    def test_a_part_that_shrinks_meanwhile(self, store, monkeypatch):
        put(store, SHA256, RAW[:10], ".part")
        monkeypatch.setattr(os, "readv", lambda *_: 0)
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets == [0]

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        left=st.binary(max_size=30), raw=st.binary(max_size=20), digest=st.sampled_from(["sha256", "sha512"])
    )
    def test_whatever_was_left_the_result_is_right(self, tmp_path, left, raw, digest):
        store = BlobStore(tmp_path / "bundle")
        found = Digest.of(raw, digest)
        part = put(store, found, left, ".part")
        store.fetch(blob(found, len(raw)), Source(raw))
        assert store.path(found).read_bytes() == raw
        assert not part.exists()
        assert store.sums[found] == (Digest.of(raw).hex, len(raw))

    def test_what_could_not_be_synced_is_written_anew(self, store, monkeypatch):
        """After EIO the kernel calls the pages clean: it would say next time that they are on the disk."""

        def fail(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            store.path(SHA256).parent.mkdir(parents=True)
            with pytest.raises(MediaError, match="cannot write"):
                store.fetch(blob(), Source())
        assert list(store.path(SHA256).parent.iterdir()) == []
        source = Source()
        store.fetch(blob(), source)
        assert source.offsets == [0]

    def test_a_part_that_fails_when_it_is_closed_is_named(self, store, monkeypatch):
        real = os.close

        def close(fd: int) -> None:
            real(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store.path(SHA256).parent.mkdir(parents=True)
        monkeypatch.setattr(os, "close", close)
        with pytest.raises(NoSpaceError, match=f"cannot write: {store.path(SHA256)}.part"):
            store.fetch(blob(), Source())
        monkeypatch.undo()
        assert not store.path(SHA256).exists()


class TestSink:
    @ALGORITHMS
    def test_add(self, store, digest):
        store.add(Bytes(RAW), digest, len(RAW))
        assert store.sums[digest] == (SHA256.hex, len(RAW))
        assert store.read(digest, len(RAW)) == RAW

    def test_add_again_is_checked(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        store.add(Bytes(RAW), SHA256, len(RAW))
        with pytest.raises(SizeMismatchError):
            store.add(Bytes(RAW[:-1]), SHA256, len(RAW))

    def test_add_wrong(self, store):
        with pytest.raises(DigestMismatchError):
            store.add(Bytes(b"x" * len(RAW)), SHA256, len(RAW))
        assert store.sums == {}

    def test_add_unnamed(self, store):
        assert store.add_unnamed(io.BytesIO(RAW)) == (SHA256, len(RAW))
        assert store.sums == {SHA256: (SHA256.hex, len(RAW))}
        assert store.path(SHA256).read_bytes() == RAW

    def test_add_unnamed_that_breaks(self, store):
        with pytest.raises(EndpointError):
            store.add_unnamed(BrokenStream(b"x", EndpointError("gone")))
        assert store.sums == {}

    def test_read_is_bounded(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        with pytest.raises(SizeMismatchError, match="at most 9 bytes, got 10,000"):
            store.read(SHA256, 9)

    def test_read_checks_again(self, store):
        store.add(Bytes(RAW), SHA256, len(RAW))
        store.path(SHA256).write_bytes(b"x" * len(RAW))
        with pytest.raises(DigestMismatchError):
            store.read(SHA256, len(RAW))


def test_prune(store):
    keep, drop = store.add_unnamed(Bytes(b"keep"))[0], store.add_unnamed(Bytes(b"drop"))[0]
    put(store, SHA512, b"", ".part")
    store.prune({keep})
    assert set(store.sums) == {keep}
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [keep.hex]
    assert not store.path(drop).exists()
