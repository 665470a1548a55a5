import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from airgap.bundle.files import write_file
from airgap.bundle.seal import (
    ENVELOPE_FILE,
    SET_ASIDE,
    STATEMENT_FILE,
    commit,
    describe,
    signature_file,
    unseal,
    write_small,
)
from airgap.bundle.store import BlobStore
from airgap.bundle.views import DockerView
from airgap.errors import FormatError, MediaError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.streams import Bytes

NAME = ImageReference.parse("r.test/x:1")
KEYID = "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "bundle")


def write(store, roots=None):
    digest, size = store.add_unnamed(Bytes(b"image manifest"))
    wide = Digest.of(b"wide", "sha512")
    store.add(Bytes(b"wide"), wide, 4)
    view = DockerView(NAME, digest.path, ())
    images = [(NAME, Descriptor(OCI_MANIFEST, digest, size))]
    contents = describe(store.sums, images, [view], roots or {1: b"one", 2: b"two"})
    write_small(store.folder, contents)
    return contents


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_contents(store):
    contents = write(store)
    folder = store.folder
    assert names(folder) == set(contents.subjects)
    assert {"trust/1.root.json", "trust/2.root.json", "VERIFY.txt"} <= set(contents.subjects)
    assert contents.total_bytes == sum((folder / name).stat().st_size for name in contents.subjects)
    for name, sha256 in contents.subjects.items():
        assert Digest.of((folder / name).read_bytes()).hex == sha256, name
    assert not (folder / ENVELOPE_FILE).exists()


def test_stock_tools_check_the_sums(store):
    contents = write(store)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=store.folder,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len((store.folder / "SHA256SUMS").read_bytes().splitlines()) == len(contents.subjects) - 1


def test_the_same_again_and_without_what_is_no_longer_wanted(store):
    first = write(store)
    assert write(store) == first
    write(store, {2: b"two"})
    assert not (store.folder / "trust/1.root.json").exists()


def test_commit(store):
    write(store)
    write_file(store.folder / STATEMENT_FILE, b"statement")
    (store.folder / "sig").mkdir()
    (store.folder / "sig" / f"{'f' * 16}.sig").write_bytes(b"stale")
    commit(store.folder, json.dumps({}).encode(), {KEYID: b"signature"})
    assert (store.folder / STATEMENT_FILE).read_bytes() == b"statement"
    assert (store.folder / ENVELOPE_FILE).read_bytes() == b"{}"
    assert [path.read_bytes() for path in (store.folder / "sig").iterdir()] == [b"signature"]
    assert (store.folder / signature_file(KEYID)).name == "0123456789abcdef.sig"


def test_every_name_is_durable_before_the_envelope(store, monkeypatch):
    """An earlier attempt may have given names, and then failed to make them durable."""
    write(store)
    order = []
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    commit(store.folder, b"envelope", {KEYID: b"signature"})
    before = set(order[: order.index(f"{store.folder / ENVELOPE_FILE}.part")])
    names = ("", "/blobs", "/blobs/sha256", "/sig", "/trust")
    assert {str(store.folder.parent), *(f"{store.folder}{name}" for name in names)} <= before


@pytest.mark.parametrize("keyid", ["", "../../../etc/x", "A" * 64, "0" * 63, f"{KEYID}\n"])
def test_a_key_id_that_is_none(keyid):
    with pytest.raises(FormatError, match=r"not a key id: kit\.dsse\.json, want 64 lower-case hex digits"):
        signature_file(keyid, "kit.dsse.json")


def test_unseal(store):
    write(store)
    unseal(store.folder)
    commit(store.folder, b"envelope", {})
    unseal(store.folder)
    assert not (store.folder / ENVELOPE_FILE).exists()
    assert (store.folder / SET_ASIDE).read_bytes() == b"envelope"


def test_a_medium_that_fails(store, monkeypatch):
    write(store)
    commit(store.folder, b"envelope", {})

    def fail(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MediaError, match="cannot rename"):
        unseal(store.folder)
    (store.folder / "trust/3.root.json").mkdir()
    with pytest.raises(MediaError, match="cannot"):
        write(store)
