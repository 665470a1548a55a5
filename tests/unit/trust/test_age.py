"""Files encrypted with a passphrase: what is written is read again, and nothing else is."""

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError, IntegrityError, KeyFileError
from airgap.trust.age import CHUNK_BYTES, decrypt, encrypt

PASSPHRASE = b"correct horse"
ENCRYPTED_CHUNK = CHUNK_BYTES + 16


def written(content: bytes, piece: int = 1000) -> bytes:
    pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
    return b"".join(encrypt(pieces, PASSPHRASE, work_factor=1))


def read(raw: bytes, passphrase: bytes = PASSPHRASE) -> bytes:
    return b"".join(decrypt(io.BytesIO(raw).read, lambda: passphrase, "file"))


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7]
)
def test_what_is_written_is_read_again(size):
    content = os.urandom(size)
    assert read(written(content)) == content


def test_a_file_is_never_written_twice_with_the_same_bytes():
    assert written(b"same") != written(b"same")


def header_end(raw: bytes) -> int:
    return raw.index(b"\n", raw.index(b"---")) + 1


CHANGES = {
    "another version": lambda raw: raw.replace(b"/v1", b"/v2", 1),
    "not an age file": lambda raw: b"PK" + raw,
    "empty": lambda raw: b"",
    "another recipient": lambda raw: raw.replace(b"-> scrypt", b"-> X25519", 1),
    "two recipients": lambda raw: raw.replace(b"---", raw[22 : raw.index(b"---")] + b"---", 1),
    "no MAC": lambda raw: raw.replace(b"--- ", b"", 1),
    "a line without end": lambda raw: raw[:22] + b"x" * 5000,
    "a work factor with a leading zero": lambda raw: raw.replace(b" 1\n", b" 01\n", 1),
    "too much memory": lambda raw: raw.replace(b" 1\n", b" 21\n", 1),
    "base64 that is not canonical": lambda raw: raw.replace(raw[41:54], raw[41:53] + b"B", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_header_is_refused_before_the_passphrase_is_asked(change):
    def ask() -> bytes:
        raise AssertionError("asked")

    with pytest.raises(FormatError):
        list(decrypt(io.BytesIO(change(written(b"content"))).read, ask, "file"))


def test_a_wrong_passphrase():
    with pytest.raises(KeyFileError, match="cannot decrypt: file"):
        read(written(b"content"), b"another one")


DAMAGES = {
    "cut in the nonce": lambda raw, at: raw[: at + 8],
    "cut after the nonce": lambda raw, at: raw[: at + 16],
    "cut after a chunk": lambda raw, at: raw[: at + 16 + ENCRYPTED_CHUNK],
    "cut in a chunk": lambda raw, at: raw[:-1],
    "more at the end": lambda raw, at: raw + b"x",
    "the last chunk twice": lambda raw, at: raw + raw[at + 16 + ENCRYPTED_CHUNK :],
    "chunks exchanged": lambda raw, at: (
        raw[: at + 16]
        + raw[at + 16 + ENCRYPTED_CHUNK : at + 16 + 2 * ENCRYPTED_CHUNK]
        + raw[at + 16 : at + 16 + ENCRYPTED_CHUNK]
        + raw[at + 16 + 2 * ENCRYPTED_CHUNK :]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_content_is_refused(damage):
    raw = written(os.urandom(2 * CHUNK_BYTES + 100), piece=5000)
    with pytest.raises(IntegrityError):
        read(damage(raw, header_end(raw)))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_changed_bit_is_accepted(data):
    raw = bytearray(RAW)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert read(bytes(raw)) != CONTENT
    except AirgapError:
        return
    raise AssertionError(f"accepted with another bit at byte {position}")


CONTENT = b"some content"
RAW = written(CONTENT)
