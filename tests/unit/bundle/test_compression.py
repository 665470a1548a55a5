"""What goes in comes out, however it is cut into pieces; what is broken is said to be, and costs no memory."""

import gzip
import io
import os
import subprocess
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle import compression
from airgap.bundle.compression import GzipReader, Inflating, Unpacked
from airgap.errors import EndpointError, FormatError, IntegrityError
from airgap.oci.digest import CHUNK, Digest
from tests.support.images import noise
from tests.support.streams import BrokenStream, Bytes

PLAIN = noise(5000, 1) + bytes(5000)
MIB = 1 << 20


def gz(raw: bytes) -> bytes:
    return gzip.compress(raw, 6, mtime=0)


def zst(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(raw)


PACK = {"gzip": gz, "zstd": zst}
FORMS = list(PACK)


def drain(stream: io.RawIOBase, size: int = 1000) -> bytes:
    out, view = bytearray(), memoryview(bytearray(size))
    while got := stream.readinto(view):
        out += view[:got]
    return bytes(out)


def unpack(packed: bytes, form: str, size: int = 1000, step: int = CHUNK) -> bytes:
    return drain(Unpacked(Bytes(packed, step), form, "layer"), size)


def repack(plain: bytes, size: int = CHUNK, step: int = CHUNK) -> bytes:
    with GzipReader(Bytes(plain, step)) as reader:
        return drain(reader, size)


def named_gzip(raw: bytes) -> bytes:
    """With a file name in its header, as `gzip FILE` writes it."""
    packed = gz(raw)
    return packed[:3] + b"\x08" + packed[4:10] + b"layer.tar\x00" + packed[10:]


def full_gzip(raw: bytes) -> bytes:
    """With every optional field of RFC 1952 in its header. ISA-L takes it in one piece only."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(raw) + body.flush()
    head = b"\x1f\x8b\x08\x1e" + bytes(4) + b"\x00\x03" + b"\x03\x00abc" + b"name\x00" + b"comment\x00"
    crc = zlib.crc32(head) & 0xFFFF
    trailer = zlib.crc32(raw).to_bytes(4, "little") + len(raw).to_bytes(4, "little")
    return head + crc.to_bytes(2, "little") + packed + trailer


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


# -- unpacking


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 7, 4096, 3 * MIB])
@pytest.mark.parametrize("step", [1, 13, CHUNK])
def test_round_trip(form, size, step):
    assert unpack(PACK[form](PLAIN), form, size, step) == PLAIN


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=300).map(lambda raw: raw * 40), min_size=1, max_size=4),
    size=st.integers(1, 5000),
    step=st.integers(1, 5000),
)
def test_several_members_and_frames(form, parts, size, step):
    packed = b"".join(map(PACK[form], parts))
    assert unpack(packed, form, size, step) == b"".join(parts)


@pytest.mark.parametrize(
    ("form", "packed", "plain"),
    [
        pytest.param("gzip", gz(b""), b"", id="gzip-empty"),
        pytest.param("gzip", gz(b"") + gz(b"x") + gz(b""), b"x", id="gzip-empty-members"),
        pytest.param("gzip", named_gzip(PLAIN), PLAIN, id="gzip-named"),
        pytest.param("zstd", zst(b""), b"", id="zstd-empty"),
        pytest.param("zstd", SKIPPABLE + zst(PLAIN) + SKIPPABLE, PLAIN, id="zstd-skippable"),
    ],
)
@pytest.mark.parametrize("step", [1, CHUNK])
def test_odd_but_well_formed(form, packed, plain, step):
    assert unpack(packed, form, step=step) == plain


def test_gzip_with_all_header_fields():
    assert unpack(full_gzip(PLAIN) * 2, "gzip") == PLAIN * 2


def flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def wide_window() -> bytes:
    """A frame that asks for 256 MiB."""
    wide = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    return packer.compress(bytes(1000)) + packer.flush()


BROKEN = [
    *(pytest.param("gzip", gz(PLAIN)[:-cut], id=f"gzip-cut-{cut}") for cut in (1, 4, 8, 9, 2000, 5080, 5091)),
    pytest.param("gzip", b"", id="gzip-nothing"),
    pytest.param("gzip", gz(PLAIN) * 2 + gz(PLAIN)[:-1], id="gzip-last-member-cut"),
    pytest.param("gzip", gz(PLAIN) + gz(PLAIN)[:1], id="gzip-one-byte-more"),
    pytest.param("gzip", gz(PLAIN) + b"junk", id="gzip-junk-behind"),
    pytest.param("gzip", gz(PLAIN) + bytes(512), id="gzip-zeros-behind"),
    pytest.param("gzip", flipped(gz(PLAIN), -6), id="gzip-crc"),
    pytest.param("gzip", flipped(gz(PLAIN), -1), id="gzip-size"),
    pytest.param("gzip", flipped(gz(PLAIN), 2), id="gzip-method"),
    pytest.param("gzip", zst(PLAIN), id="gzip-zstd"),
    pytest.param("gzip", PLAIN, id="gzip-plain"),
    pytest.param("zstd", gz(PLAIN), id="zstd-gzip"),
    pytest.param("zstd", zst(PLAIN) + b"junk", id="zstd-junk-behind"),
    pytest.param("zstd", zst(PLAIN) + bytes(512), id="zstd-zeros-behind"),
    pytest.param("zstd", flipped(zst(PLAIN), -1), id="zstd-checksum"),
    pytest.param("zstd", wide_window(), id="zstd-window"),
]


@pytest.mark.parametrize(("form", "packed"), BROKEN)
@pytest.mark.parametrize("step", [1, CHUNK])
def test_broken(form, packed, step):
    with pytest.raises(FormatError, match=f"not a {form} layer: layer"):
        unpack(packed, form, step=step)


@pytest.mark.parametrize("cut", [1, 5, 2000])
def test_zstd_that_breaks_off_gives_no_more_than_there_was(cut):
    found = unpack(zst(PLAIN)[:-cut], "zstd")
    assert PLAIN.startswith(found)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=300), keep=st.integers(0, 40))
def test_any_bytes_are_refused_or_unpacked(form, raw, keep):
    try:
        unpack(PACK[form](PLAIN)[:keep] + raw, form)
    except FormatError as error:
        assert f"not a {form} layer" in str(error)  # noqa: PT017 - either way is right


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_unpacks_a_buffer_at_a_time(form):
    """64 MiB from a few kilobytes."""
    packed = PACK[form](bytes(64 * MIB))
    stream, view = Unpacked(Bytes(packed), form, "layer"), memoryview(bytearray(1000))
    tracemalloc.start()
    try:
        assert [stream.readinto(view) for _ in range(100)] == [1000] * 100
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", FORMS)
def test_too_much(form, monkeypatch):
    monkeypatch.setattr(compression, "MAX_BLOB_BYTES", len(PLAIN))
    assert unpack(PACK[form](PLAIN), form) == PLAIN
    with pytest.raises(FormatError, match="is too large when decompressed: layer, want at most 10,000 bytes"):
        unpack(PACK[form](PLAIN + b"x"), form)


@pytest.mark.parametrize("form", FORMS)
def test_errors_of_the_source_pass(form):
    stream = BrokenStream(PACK[form](PLAIN)[:100], EndpointError("broke off"))
    with pytest.raises(EndpointError, match="broke off"):
        drain(Unpacked(stream, form, "layer"))


@pytest.mark.parametrize("form", FORMS)
def test_as_a_file(form):
    source = Bytes(PACK[form](PLAIN))
    stream = Unpacked(source, form, "layer")
    assert stream.readable()
    assert stream.readinto(memoryview(bytearray())) == 0
    assert stream.read(7) == PLAIN[:7]
    assert stream.readall() == PLAIN[7:]
    assert stream.read(1) == b""
    stream.close()
    assert source.closed


# -- packing


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 4 * CHUNK + 7])
def test_gzip_takes_it(size):
    plain = noise(size // 2, 3) + bytes(size - size // 2)
    packed = repack(plain)
    assert gzip.decompress(packed) == plain
    assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == plain
    assert unpack(packed, "gzip", CHUNK) == plain


def test_bytes_depend_on_the_content_only(monkeypatch):
    plain = noise(CHUNK + 500, 4) * 2
    packed = repack(plain)
    assert repack(plain, size=977) == packed
    assert repack(plain, step=100_003) == packed
    for cores in (1, 7, None):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert repack(plain) == packed


def test_the_diff_id_is_that_of_all_blocks_in_order():
    plain = noise(2 * CHUNK + 9, 5)
    with GzipReader(Bytes(plain, 700_001)) as reader:
        assert reader.readable()
        assert reader.readinto(memoryview(bytearray())) == 0
        drain(reader, 4096)
        assert reader.readinto(memoryview(bytearray(9))) == 0
        assert reader.diff_id == Digest.of(plain)


@pytest.mark.parametrize(("at", "bit"), [(0, 1), (40, 16), (-1, 16)])
def test_a_compressor_that_errs_is_noticed(at, bit, monkeypatch):
    class Erring:
        def __init__(self, *settings):
            self._packer = real(*settings)

        def compress(self, data):
            return self._packer.compress(data)

        def flush(self, mode):
            packed = bytearray(self._packer.flush(mode))
            packed[at] ^= bit
            return bytes(packed)

    real = compression.isal_zlib.compressobj
    monkeypatch.setattr(compression.isal_zlib, "compressobj", Erring)
    with pytest.raises(IntegrityError, match=r"^a layer was compressed wrongly"):
        GzipReader(Bytes(noise(5000, 1))).read()


def test_a_source_that_breaks_off_ends_the_packing():
    source = BrokenStream(noise(CHUNK + 1, 6), EndpointError("broke off"))
    with GzipReader(source) as reader, pytest.raises(EndpointError, match="broke off"):
        drain(reader)


# -- passing by


def inflate(packed: bytes, step: int) -> tuple[bytes, bool]:
    seen: list[bytes] = []
    inside = Inflating(seen.append)
    for at in range(0, len(packed), step):
        inside.update(packed[at : at + step])
    assert all(len(piece) <= CHUNK for piece in seen)
    return b"".join(seen), inside.whole


@pytest.mark.parametrize("step", [1, 3, 1000, CHUNK])
def test_inflating(step):
    assert inflate(gz(PLAIN), step) == (PLAIN, True)
    assert inflate(gz(PLAIN) + named_gzip(b"second") + gz(b""), step) == (PLAIN + b"second", True)


def test_inflating_little_by_little_holds_nothing_back():
    seen: list[bytes] = []
    inside = Inflating(seen.append)
    packed = gz(PLAIN)
    inside.update(packed[:-8])
    assert b"".join(seen) == PLAIN
    assert not inside.whole
    inside.update(packed[-8:])
    assert inside.whole


def test_inflating_far_more_than_comes():
    plain = bytes(5 * CHUNK + 1)
    for step in (100, CHUNK):
        assert inflate(gz(plain) * 2, step) == (plain * 2, True)


def test_inflating_in_pieces_that_hold_more_than_a_chunk():
    """Here ISA-L takes all of a piece and still has plain bytes to give."""
    plain = bytes(2 * CHUNK)
    assert inflate(gz(plain)[:1045], 1045)[0] == plain[: CHUNK + 3808]
    assert inflate(gz(plain), 1045) == (plain, True)


@pytest.mark.parametrize("packed", [b"", gz(PLAIN)[:-1], gz(PLAIN)[:5], gz(PLAIN) + gz(PLAIN)[:-4]])
def test_inflating_what_is_not_whole(packed):
    found, whole = inflate(packed, 100)
    assert (PLAIN * 2).startswith(found)
    assert not whole


@pytest.mark.parametrize("packed", [PLAIN, zst(PLAIN), flipped(gz(PLAIN), -6), gz(PLAIN) + bytes(512)])
@pytest.mark.parametrize("step", [1, 1000, CHUNK])
def test_inflating_what_is_no_gzip(packed, step):
    with pytest.raises(FormatError, match="not gzip"):
        inflate(packed, step)
