import contextlib
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.errors import DigestMismatchError, FormatError, SizeMismatchError
from airgap.oci.digest import CheckedReader, Digest, copy
from tests.support.streams import BrokenStream, Bytes

ABC = Digest.of(b"abc")
HEX = hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha512:{HEX}",
        f"md5:{HEX[:32]}",
        "sha256:" + "٣" * 64,
        "sha256:../../../../etc/passwd",
        f"sha256+b64:{HEX}",
        None,
        7,
    ],
)
def test_not_a_digest(text):
    with pytest.raises(FormatError, match="not a digest: here"):
        Digest.parse(text, "here")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_digest(algorithm):
    found = Digest.of(b"abc", algorithm)
    assert found.hex == hashlib.new(algorithm, b"abc").hexdigest()
    assert Digest.parse(str(found)) == found
    assert found.path == f"blobs/{algorithm}/{found.hex}"


@given(st.text())
def test_whatever_parses_is_written_the_same(text):
    with contextlib.suppress(FormatError):
        assert str(Digest.parse(text)) == text


@given(st.binary(max_size=64), st.integers(1, 70))
def test_right_content_passes(raw, step):
    out = bytearray()
    reader = CheckedReader(Bytes(raw, step), Digest.of(raw), len(raw))
    assert copy(reader, out.extend) == len(raw)
    assert bytes(out) == raw
    assert reader.readinto(bytearray(1)) == 0


def read_by(stream, digest, size, take, out):
    reader = CheckedReader(stream, digest, size)
    while got := reader.read(take):
        out += got


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_the_last_byte_of_wrong_content_never_comes_out(raw, other, step, take):
    """However it is cut, and whatever the reader asks for at a time."""
    if raw == other:
        return
    out = bytearray()
    with pytest.raises((DigestMismatchError, SizeMismatchError)):
        read_by(Bytes(other, step), Digest.of(raw), len(raw), take, out)
    assert len(out) < max(len(raw), 1)


@pytest.mark.parametrize(
    ("raw", "size", "error", "words"),
    [
        (b"ab", 3, SizeMismatchError, "wrong size: x, want 3 bytes, got 2 bytes"),
        (b"abcd", 3, SizeMismatchError, "wrong size: x, want 3 bytes, got more"),
        (b"abd", 3, DigestMismatchError, f"wrong digest: x, want {ABC}, got sha256:"),
        (b"", 3, SizeMismatchError, "got 0 bytes"),
        (b"", 0, DigestMismatchError, "wrong digest"),
    ],
)
def test_content_that_does_not_match_is_reported(raw, size, error, words):
    with pytest.raises(error) as caught:
        copy(CheckedReader(Bytes(raw), ABC, size, "x"), lambda _: None)
    assert words in str(caught.value)


def test_more_than_promised_in_one_piece_behind_the_end():
    """The last piece is exactly the last byte, and the stream has one byte more."""
    with pytest.raises(SizeMismatchError, match="got more"):
        copy(CheckedReader(Bytes(b"abcd", step=1), ABC, 3), lambda _: None)


def test_going_on_in_the_middle():
    prior = ABC.hasher()
    prior.update(b"ab")
    reader = CheckedReader(Bytes(b"c"), ABC, 3, prior=prior, done=2)
    assert reader.readall() == b"c"


def test_going_on_at_the_end_is_checked_at_once():
    prior = ABC.hasher()
    prior.update(b"abd")
    with pytest.raises(DigestMismatchError, match=HEX):
        CheckedReader(Bytes(b""), ABC, 3, prior=prior, done=3)


def test_names_its_digest_without_a_subject():
    with pytest.raises(SizeMismatchError, match=str(ABC)):
        CheckedReader(Bytes(b""), ABC, 3).readall()


def test_empty_buffer_reads_nothing():
    assert CheckedReader(Bytes(b"abc"), ABC, 3).readinto(bytearray()) == 0


def test_closes_what_it_reads():
    stream = Bytes(b"abc")
    reader = CheckedReader(stream, ABC, 3)
    assert reader.readable()
    reader.close()
    reader.close()
    assert stream.closed


def test_an_error_of_the_stream_passes():
    with pytest.raises(OSError, match="gone"):
        CheckedReader(BrokenStream(b"ab", OSError("gone")), ABC, 3).readall()


def test_copy_reports_its_progress():
    counts = []
    out = io.BytesIO()
    assert copy(Bytes(b"abcdef", step=4), out.write, counts.append) == 6
    assert (out.getvalue(), counts) == (b"abcdef", [4, 2])


class Counting(Bytes):
    """Counts how often it is closed; at its end it has nothing yet, as a stream that does not block."""

    closings = 0

    def readinto(self, buffer):
        return super().readinto(buffer) or None

    def close(self):
        self.closings += 1


def test_the_stream_is_closed_once():
    stream = Counting(b"abc")
    reader = CheckedReader(stream, ABC, 3)
    for _ in range(2):
        reader.close()
        assert stream.closings == 1


def test_a_stream_that_has_nothing_yet_is_a_short_one():
    with pytest.raises(SizeMismatchError, match="got 0 bytes"):
        CheckedReader(Counting(b""), ABC, 3).readall()
