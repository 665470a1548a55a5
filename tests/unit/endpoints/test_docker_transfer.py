"""Images that are saved from, and loaded into, the Docker engine."""

import json
from collections.abc import Iterator

import pytest

from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    FormatError,
    NotFoundError,
    UnavailableError,
)
from airgap.oci.reference import ImageReference
from tests.support.saves import (
    IDS,
    MemorySink,
    hybrid,
    images,
    saved_by_20,
    saved_by_28,
    tar,
)
from tests.unit.endpoints.docker_support import ID, A, B, chunks, engine


class TestExport:
    @pytest.mark.parametrize("raw", [tar(*saved_by_20()), tar(saved_by_28())])
    def test_classic_store(self, daemon, raw):
        daemon.images = {str(r): {"Id": str(IDS[n])} for r, n in ((A, "a"), (B, "b"))}
        daemon.saved = chunks(raw)
        sink, seen = MemorySink(), []
        found = engine(daemon).export([B, A], sink, seen.append)
        assert [(image.reference, image.image_id, image.repacked) for image in found] == [
            (B, IDS["b"], True),
            (A, IDS["a"], True),
        ]
        assert [q["names"] for q in daemon.queries if "names" in q] == [
            ["docker.io/t/b:1", "docker.io/t/a:1"]
        ]
        assert sum(seen) == len(raw)
        assert all(image.descriptor.digest in sink.contents for image in found)

    def test_containerd_store(self, containerd):
        image = images()["a"]
        containerd.images[str(A)] = {"Id": str(image.descriptor.digest)}
        containerd.saved = chunks(tar(hybrid({str(A): image})))
        sink = MemorySink()
        (found,) = engine(containerd).export([A], sink, lambda _: None)
        assert (found.descriptor.digest, found.repacked) == (image.descriptor.digest, False)
        assert sink.contents == image.contents

    def test_digest_only(self, daemon):
        reference = ImageReference.parse(f"t/a@{ID}")
        daemon.images[str(reference)] = {"Id": str(IDS["a"])}
        daemon.saved = [tar(*saved_by_20())]
        (found,) = engine(daemon).export([reference], MemorySink(), lambda _: None)
        assert (found.reference, found.image_id) == (reference, IDS["a"])
        assert {"names": [str(IDS["a"])]} in daemon.queries

    def test_a_tag_that_moved_meanwhile(self, daemon):
        daemon.images[str(A)] = {"Id": str(ID)}
        daemon.saved = [tar(*saved_by_20())]
        with pytest.raises(NotFoundError, match="no such image in the archive"):
            engine(daemon).export([A], MemorySink(), lambda _: None)

    def test_not_there(self, daemon):
        with pytest.raises(NotFoundError, match="no such image"):
            engine(daemon).export([A], MemorySink(), lambda _: None)
        assert "GET /images/get" not in daemon.calls

    def test_refused(self, daemon):
        daemon.images[str(A)] = {"Id": str(IDS["a"])}
        daemon.failures["/images/get"] = (500, "no space left on device")
        with pytest.raises(EndpointError, match=r"cannot save: .*no space left on device"):
            engine(daemon).export([A], MemorySink(), lambda _: None)

    def test_connection_cut(self, daemon):
        daemon.images[str(A)] = {"Id": str(IDS["a"])}
        daemon.saved, daemon.cut_save = [tar(*saved_by_20())[:3000]], True
        with pytest.raises(UnavailableError, match="cannot save"):
            engine(daemon).export([A], MemorySink(), lambda _: None)

    def test_error_behind_the_beginning(self, daemon):
        daemon.images[str(A)] = {"Id": str(IDS["a"])}
        words = json.dumps({"errorDetail": {"message": "layer is gone"}, "error": "layer is gone"}).encode()
        daemon.saved = [tar(*saved_by_20())[:1024], words + b"\r\n"]
        with pytest.raises(EndpointError, match=r"save failed: .*layer is gone"):
            engine(daemon).export([A], MemorySink(), lambda _: None)

    def test_truncated(self, daemon):
        daemon.images[str(A)] = {"Id": str(IDS["a"])}
        daemon.saved = [tar(*saved_by_20())[:1025]]
        with pytest.raises(FormatError, match="truncated archive"):
            engine(daemon).export([A], MemorySink(), lambda _: None)

    def test_the_sinks_exceptions_pass(self, daemon):
        class Full(MemorySink):
            def add_unnamed(self, stream):
                raise OSError("mine")

        daemon.images[str(A)] = {"Id": str(IDS["a"])}
        daemon.saved = chunks(tar(*saved_by_20()))
        with pytest.raises(OSError, match="mine"):
            engine(daemon).export([A], Full(), lambda _: None)


COMPLAINTS = {
    "error": (b'{"error":"bad tar","errorDetail":{"message":"bad tar"}}', "bad tar"),
    "detail only": (b'{"errorDetail":{"code":1,"message":"no space"}}', "no space"),
    "detail of another form": (b'{"errorDetail":"no space","error":"full"}', "full"),
    "friendly": (
        b'{"stream":"Loaded image: x\\n"}\r\n{"stream":"Error unpacking image x: gone\\n"}',
        "unpacking image x",
    ),
    "in the middle": (b'{"error":"first"}\r\n{"stream":"Loaded image: x\\n"}\r\n', "first"),
    "other case": (b'{"stream":"while loading: error unpacking it"}', "error unpacking"),
    "no object": (b'["x"]', "x"),
    "no JSON": (b"<html>", "unreadable answer"),
    "endless": (b"x" * (5 << 20), "a longer answer"),
}


class TestLoad:
    def test_streams_and_reads_the_answer(self, daemon):
        daemon.load_answer = b'{"stream":"Loaded image: error/x:1\\n"}\r\n\r\n{"status":"x"}'
        engine(daemon).load(iter([b"one", b"", b"two"]))
        assert daemon.received == b"onetwo"
        assert daemon.calls[-1] == "POST /images/load"
        assert daemon.queries[-1] == {"quiet": ["1"]}

    @pytest.mark.parametrize(("answer", "words"), COMPLAINTS.values(), ids=COMPLAINTS)
    def test_complaints(self, daemon, answer, words):
        daemon.load_answer = answer
        with pytest.raises(EndpointError, match=words):
            engine(daemon).load([b"tar"])

    def test_refused(self, daemon):
        daemon.failures["/images/load"] = (500, "no space left on device")
        with pytest.raises(EndpointError, match=r"load failed: .*no space left on device"):
            engine(daemon).load([b"tar"])

    @pytest.mark.parametrize(
        "error",
        [
            DigestMismatchError("wrong digest"),
            EndpointError("source gone"),
            OSError("disk"),
            KeyboardInterrupt(),
        ],
    )
    def test_exceptions_of_the_stream_cut_the_connection_and_pass(self, daemon, error):
        cause = ValueError("why")

        def broken() -> Iterator[bytes]:
            yield b"first"
            raise error from cause

        with pytest.raises(type(error)) as caught:
            engine(daemon).load(broken())
        assert caught.value is error
        assert error.__cause__ is cause
        assert daemon.broke_off.wait(120)
        assert not daemon.received_all.is_set()
