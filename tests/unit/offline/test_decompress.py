import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from airgap.bundle import compression
from airgap.errors import DigestMismatchError, FormatError, IncompleteError, SizeMismatchError
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD, Descriptor
from airgap.offline import decompress as unpack
from airgap.offline.decompress import SizeClaimError, UnpackedLayer, claim_gzip, form_of, measure_zstd
from tests.support.images import noise
from tests.support.streams import BrokenStream, Bytes

RAW = noise(300_000, 1) + bytes(300_000)
DIFF_ID = Digest.of(RAW)
PACKED = zstandard.compress(RAW)


def measure(packed: bytes, diff_id: Digest = DIFF_ID, step: int = 1 << 20) -> UnpackedLayer:
    return measure_zstd(diff_id, lambda: Bytes(packed, step))


@pytest.mark.parametrize(
    ("media_type", "found"),
    [
        (OCI_LAYER_ZSTD, "zstd"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"),
        (OCI_LAYER_GZIP, "gzip"),
        (OCI_LAYER_TAR, ""),
    ],
)
def test_kind(media_type, found):
    assert form_of(Descriptor(media_type, DIFF_ID, 1)) == found


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_unpacked(step):
    packed = PACKED if step > 1 else zstandard.compress(b"x" * 1000)
    raw = RAW if step > 1 else b"x" * 1000
    layer = measure(packed, Digest.of(raw), step)
    assert layer.size == len(raw)
    with layer.open() as stream:
        assert stream.readall() == raw


def test_several_frames():
    packed = zstandard.compress(RAW[:1000]) + zstandard.compress(RAW[1000:])
    assert measure(packed).size == len(RAW)


@given(st.binary(max_size=200))
def test_what_was_packed_comes_out(raw):
    with measure(zstandard.compress(raw), Digest.of(raw)).open() as stream:
        assert stream.read() == raw


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"no zstd at all", "not a zstd layer"),
        (PACKED[:-100], "the layer does not have the digest in the config"),
        (PACKED + b"more", "not a zstd layer"),
        (PACKED[:1000] + b"x" + PACKED[1001:], "the layer does not have the digest in the config"),
        (zstandard.compress(b"else"), "the layer does not have the digest in the config"),
        (b"", "the layer does not have the digest in the config"),
        (
            zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=28))
            .compressobj()
            .compress(b"x" * 10),
            "",
        ),
    ],
)
def test_refused(packed, words):
    with pytest.raises(FormatError) as caught:
        measure(packed)
    assert words in str(caught.value)


def test_a_window_that_is_too_large():
    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = stream.compress(RAW) + stream.flush()
    with pytest.raises(FormatError, match="not a zstd layer"):
        measure(packed)


def test_without_end(monkeypatch):
    monkeypatch.setattr(compression, "MAX_BLOB_BYTES", 500_000)
    with pytest.raises(FormatError, match="the layer is too large when decompressed"):
        measure(PACKED)


def test_an_error_of_the_packed_stream_passes():
    with pytest.raises(DigestMismatchError):
        measure_zstd(DIFF_ID, lambda: BrokenStream(PACKED[:500], DigestMismatchError("wrong")))


def test_the_packed_stream_is_read_to_its_end():
    """Or else its digest would not have been checked."""
    with pytest.raises(SizeMismatchError):
        measure_zstd(DIFF_ID, lambda: CheckedReader(Bytes(PACKED), Digest.of(PACKED), len(PACKED) + 1))


def test_streams_are_closed():
    opened = []

    def open_packed():
        opened.append(Bytes(PACKED))
        return opened[-1]

    measure_zstd(DIFF_ID, open_packed).open().close()
    assert [stream.closed for stream in opened] == [True, True, True]


def test_unsigned_bytes_reach_no_decoder(monkeypatch):
    monkeypatch.setattr(unpack, "Unpacked", lambda *_: pytest.fail("given to the decoder"))
    with pytest.raises(DigestMismatchError):
        measure_zstd(
            DIFF_ID, lambda: CheckedReader(Bytes(PACKED[:-1] + b"x"), Digest.of(PACKED), len(PACKED))
        )


def test_changed_meanwhile():
    """Checked, measured and sent are three readings; the last is checked as well."""
    contents = [PACKED, PACKED, zstandard.compress(b"x" * len(RAW))]
    layer = measure_zstd(DIFF_ID, lambda: Bytes(contents.pop(0)))
    with pytest.raises(DigestMismatchError), layer.open() as stream:
        stream.readall()


GZIPPED = gzip.compress(RAW, 6, mtime=0)


def claim(packed: bytes, digest: Digest | None = None) -> UnpackedLayer | None:
    layer = Descriptor(OCI_LAYER_GZIP, digest or Digest.of(packed), len(packed))

    def open_packed() -> CheckedReader:
        return CheckedReader(Bytes(packed), layer.digest, layer.size)

    return claim_gzip(DIFF_ID, layer, open_packed, io.BytesIO(packed))


def test_a_gzip_layer_of_the_size_it_claims():
    layer = claim(GZIPPED)
    assert layer.size == len(RAW)
    assert layer.open().readall() == RAW


def test_a_size_that_cannot_be_is_none():
    assert claim(gzip.compress(noise(10_000, 3))[:-4] + bytes(4)) is None


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(GZIPPED + gzip.compress(RAW * 2), id="first of two members"),
        pytest.param(gzip.compress(b"x") + GZIPPED, id="second of two members"),
    ],
)
def test_a_false_claim_ends_before_the_last_byte(packed):
    layer = claim(packed)
    with pytest.raises(SizeClaimError), layer.open() as stream:
        stream.readall()


def test_a_trailer_with_a_wrong_size_is_refused():
    layer = claim(GZIPPED[:-4] + (len(RAW) + 1).to_bytes(4, "little"))
    with pytest.raises(FormatError), layer.open() as stream:
        stream.readall()


def test_a_gzip_layer_is_checked_before_it_is_unpacked():
    with pytest.raises(DigestMismatchError):
        claim(GZIPPED, Digest.of(b"other"))
    with pytest.raises(IncompleteError):
        claim(b"xy")
