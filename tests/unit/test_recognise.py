"""What a path is said to be, and that nothing that lies there holds up who asks."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap import recognise as module
from airgap.audit.receipt import PREDICATE_TYPE as RECEIPT
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.statement import BUNDLE_PREDICATE_TYPE as BUNDLE
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.kit.statement import KIT_ENVELOPE_FILE as KIT_FILE
from airgap.kit.statement import KIT_PREDICATE_TYPE as KIT
from airgap.recognise import PathKind, RecognisedPath, recognise
from airgap.trust.envelope import ROOT_TYPE
from tests.support.things import THINGS, make_thing, tar_of


@pytest.mark.parametrize("name", THINGS)
def test_each_thing(name: str, tmp_path: Path):
    assert recognise(make_thing(name, tmp_path)).kind is THINGS[name][0]


@pytest.mark.parametrize("name", THINGS)
def test_through_a_link(name: str, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(make_thing(name, tmp_path))
    if name != "statement":  # which is known by its name only
        assert recognise(link).kind is THINGS[name][0]


def test_the_names_are_those_of_the_formats():
    assert (module.BUNDLE_ENVELOPE, module.KIT_ENVELOPE, module.VOLUME_TABLE, module.ROOT_PAYLOAD_TYPE) == (
        ENVELOPE_FILE, KIT_FILE, VOLUME_FILE, ROOT_TYPE,
    )  # fmt: skip
    assert set(module._DOCUMENTS) == {BUNDLE, KIT, RECEIPT}


def test_what_is_inside_is_named(tmp_path: Path):
    assert recognise(make_thing("folder of volumes", tmp_path)).inside == tuple(
        tmp_path / "volumes" / f"stack-0001.v{number}" for number in (1, 2)
    )
    stick = make_thing("root of a medium", tmp_path)
    assert recognise(stick).inside == (stick / "other-0007.tar", stick / "stack-0001")


ABSENT = {
    "stack.yaml": PathKind.ABSENT,
    "stick/stack-0001": PathKind.ABSENT,
    "nginx": PathKind.ABSENT,
    "nginx:1.27": PathKind.IMAGE_NAME,
    "ghcr.io/acme/api": PathKind.IMAGE_NAME,
    "localhost:5000/acme/api:2": PathKind.IMAGE_NAME,
    "acme/api:2": PathKind.IMAGE_NAME,
    f"acme/api@sha256:{'0' * 64}": PathKind.IMAGE_NAME,
    "docker://nginx": PathKind.ADDRESS,
    "https://example.com/stack.tar": PathKind.ADDRESS,
    "x" * 5000: PathKind.UNKNOWN,
    "a\0b": PathKind.UNKNOWN,
}


@pytest.mark.parametrize("text", ABSENT, ids=range(len(ABSENT)))
def test_what_is_not_there(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert recognise(Path(text)).kind is ABSENT[text]


def test_a_link_to_nothing(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")
    assert recognise(tmp_path / "link") == RecognisedPath(
        PathKind.ABSENT, detail="a symbolic link to nothing"
    )


def test_a_loop_of_links(tmp_path: Path):
    (tmp_path / "link").symlink_to("link")
    assert recognise(tmp_path / "link").kind is PathKind.UNKNOWN


class TestHostile:
    """Whatever is there is answered at once: this would hang, or take all memory, if it were not."""

    def test_a_pipe(self, tmp_path: Path):
        os.mkfifo(tmp_path / "pipe")
        assert recognise(tmp_path / "pipe").words == "a pipe"

    def test_a_pipe_in_the_place_of_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "file").write_text("x")
        seen = (tmp_path / "file").stat()
        monkeypatch.setattr(Path, "stat", lambda _self, **_: seen)  # it changes after it was looked at
        assert recognise(tmp_path / "pipe").kind is PathKind.SPECIAL

    def test_pipes_under_the_names_of_a_bundle(self, tmp_path: Path):
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            os.mkfifo(tmp_path / name / ENVELOPE_FILE)
        os.mkfifo(tmp_path / "three.tar")
        assert recognise(tmp_path).kind is PathKind.UNKNOWN

    def test_a_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            assert recognise(Path("socket")).words == "a socket"

    def test_a_device(self):
        assert recognise(Path("/dev/zero")).words == "a device"

    def test_a_sparse_file_of_a_terabyte(self, tmp_path: Path):
        with (tmp_path / "large").open("wb") as file:
            file.truncate(1 << 40)
        assert recognise(tmp_path / "large").kind is PathKind.UNKNOWN

    def test_a_json_document_without_an_end(self, tmp_path: Path):
        with (tmp_path / "large.json").open("wb") as file:
            file.write(b'{"payload":"')
            file.truncate(1 << 40)
        assert recognise(tmp_path / "large.json").kind is PathKind.UNKNOWN

    def test_a_tar_of_headers_only(self, tmp_path: Path):
        one = tar_of("a")[:512].replace(b"00000005670", b"00000000000")
        (tmp_path / "many.tar").write_bytes(one * 5000)
        assert recognise(tmp_path / "many.tar").kind is PathKind.UNKNOWN

    @pytest.mark.parametrize("size", [b"77777777777", b"\x80" + bytes(10), b"-0000000001", b"           "])
    def test_a_size_that_lies(self, size: bytes, tmp_path: Path):
        raw = bytearray(tar_of("a", "manifest.json"))
        raw[124:135] = size
        (tmp_path / "lies.tar").write_bytes(raw)
        assert recognise(tmp_path / "lies.tar").kind is PathKind.UNKNOWN

    def test_a_tar_that_breaks_off_is_judged_by_whoever_reads_it(self, tmp_path: Path):
        """It may be the tar of a bundle, whose envelope is not there any more."""
        raw = tar_of("index.json", "manifest.json", "blob")
        (tmp_path / "cut.tar").write_bytes(raw[:4000])
        assert recognise(tmp_path / "cut.tar").kind is PathKind.UNKNOWN

    def test_the_envelope_at_the_end(self, tmp_path: Path):
        (tmp_path / "x.tar").write_bytes(tar_of("index.json", "manifest.json", "oci-layout", ENVELOPE_FILE))
        assert recognise(tmp_path / "x.tar").kind is PathKind.BUNDLE_TAR

    def test_a_bomb(self, tmp_path: Path):
        import gzip

        (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(50 << 20)))
        assert recognise(tmp_path / "bomb.gz").kind is PathKind.PACKED

    def test_a_folder_of_many(self, tmp_path: Path):
        for number in range(module.MAX_RECOGNISED_NAMES + 50):
            (tmp_path / str(number)).touch()
        assert recognise(tmp_path).kind is PathKind.UNKNOWN

    def test_a_payload_that_is_no_base64(self, tmp_path: Path):
        (tmp_path / "x.json").write_text('{"payload":"\\u00e9===","payloadType":"x","signatures":[]}')
        assert recognise(tmp_path / "x.json").kind is PathKind.UNKNOWN

    @given(st.binary(max_size=700) | st.text(max_size=300).map(str.encode))
    def test_every_file_is_given_a_kind(self, raw: bytes):
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            assert isinstance(recognise(Path(file.name)), RecognisedPath)
