import subprocess

import pytest

from airgap.bundle.contents import (
    ENVELOPE_FILE,
    DockerView,
    describe_contents,
    signature_file,
)
from airgap.bundle.files import write_file
from airgap.bundle.store import BlobStore
from airgap.errors import FormatError
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
    contents = describe_contents(store.sums, images, [view], roots or {1: b"one", 2: b"two"})
    for name, raw in contents.small.items():
        write_file(store.folder / name, raw)
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


def test_the_same_again(store):
    assert write(store) == write(store)


@pytest.mark.parametrize("keyid", ["", "../../../etc/x", "A" * 64, "0" * 63, f"{KEYID}\n"])
def test_a_key_id_that_is_none(keyid):
    with pytest.raises(FormatError, match=r"not a key id: kit\.dsse\.json, want 64 lower-case hex digits"):
        signature_file(keyid, "kit.dsse.json")
