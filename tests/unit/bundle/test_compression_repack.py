import gzip
import io
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle import compression
from airgap.bundle.compression import GunzipWitness, GzipReader
from airgap.errors import FormatError
from airgap.oci.digest import CHUNK, Digest


def drain(stream: io.RawIOBase, step: int = 1000) -> bytes:
    out, buffer = b"", memoryview(bytearray(step))
    while got := stream.readinto(buffer):
        out += buffer[:got]
    return out


class TestGzipReader:
    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=5000), st.integers(1, 3000))
    def test_round_trip(self, plain, step):
        reader = GzipReader(io.BytesIO(plain))
        assert gzip.decompress(drain(reader, step)) == plain
        assert reader.diff_id == Digest.of(plain)

    def test_more_than_one_buffer_and_gnu_gzip(self):
        plain = bytes(range(256)) * (CHUNK // 100)
        packed = GzipReader(io.BytesIO(plain)).read()
        assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == plain

    def test_holds_no_time_and_no_name(self):
        first = io.BufferedReader(GzipReader(io.BytesIO(b"x"))).read()
        assert first == drain(GzipReader(io.BytesIO(b"x")))
        assert first[3:8] == bytes(5)


class TestGunzipWitness:
    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=5000), st.binary(max_size=500), st.integers(1, 3000))
    def test_passes_on_and_hashes(self, one, two, step):
        packed = gzip.compress(one) + gzip.compress(two)
        witness = GunzipWitness(io.BytesIO(packed), "x")
        assert drain(witness, step) == packed
        assert witness.diff_id == Digest.of(one + two)

    def test_content_larger_than_its_buffer(self):
        plain = bytes(5 * CHUNK)
        witness = GunzipWitness(io.BytesIO(gzip.compress(plain)), "x")
        io.BufferedReader(witness).read()
        assert witness.diff_id == Digest.of(plain)

    @pytest.mark.parametrize(
        ("packed", "message"),
        [
            (b"", "truncated gzip"),
            (gzip.compress(b"x" * 100)[:-1], "truncated gzip"),
            (gzip.compress(b"x" * 100)[:12], "truncated gzip"),
            (gzip.compress(b"x") + gzip.compress(b"y")[:5], "truncated gzip"),
            (b"no gzip at all", "not gzip"),
            (gzip.compress(b"x") + b"junk", "truncated gzip"),
            (gzip.compress(b"x") + b"junk" * 9, "not gzip"),
            (gzip.compress(b"x" * 100)[:-8] + bytes(8), "not gzip"),
            (zlib.compress(b"x"), "truncated gzip"),
            (zlib.compress(bytes(range(99))), "not gzip"),
        ],
    )
    def test_refused(self, packed, message):
        witness = GunzipWitness(io.BytesIO(packed), "layer 1")
        with pytest.raises(FormatError, match=f"{message}: layer 1"):
            _ = drain(witness), witness.diff_id

    def test_bomb(self, monkeypatch):
        monkeypatch.setattr(compression, "MAX_BLOB_BYTES", 10 * CHUNK)
        with pytest.raises(FormatError, match="too large"):
            drain(GunzipWitness(io.BytesIO(gzip.compress(bytes(11 * CHUNK))), "x"))
