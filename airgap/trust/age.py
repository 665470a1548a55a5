"""Files encrypted with a passphrase, in the age format, version 1 (C2SP age.md, scrypt recipient only).

`age -d` reads what `encrypt` writes. The content is encrypted in chunks of 64 KiB, each with its position
and whether it is the last one, so a changed, cut, moved or repeated chunk does not decrypt. The passphrase is
the only recipient: whoever can decrypt a file could also have written it.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from airgap.errors import FormatError, IntegrityError, KeyFileError
from airgap.limits import MAX_AGE_LINE_BYTES, MAX_AGE_WORK_FACTOR

CHUNK_BYTES = 64 << 10
WORK_FACTOR = 18
"""Base-2 logarithm of scrypt's N: 256 MiB of memory and about a second for each guess."""

_VERSION = b"age-encryption.org/v1\n"
_SCRYPT_LABEL = b"age-encryption.org/v1/scrypt"
_TAG_BYTES = 16
_RECIPIENT = re.compile(rb"-> scrypt ([A-Za-z0-9+/]{22}) ([1-9][0-9]?)\n")
_BODY = re.compile(rb"([A-Za-z0-9+/]{43})\n")
_MAC = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")

Read = Callable[[int], bytes]
"""Returns up to this number of bytes; fewer only at the end."""


def encrypt(chunks: Iterable[bytes], passphrase: bytes, *, work_factor: int | None = None) -> Iterator[bytes]:
    """Yield the encrypted file of the joined `chunks`. The passphrase must not be empty.

    `work_factor` is by default `WORK_FACTOR`.
    """
    work_factor = WORK_FACTOR if work_factor is None else work_factor
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrapped = ChaCha20Poly1305(_wrap_key(passphrase, salt, work_factor)).encrypt(bytes(12), file_key, None)
    header = b"%s-> scrypt %s %d\n%s\n---" % (_VERSION, _encode(salt), work_factor, _encode(wrapped))
    yield b"%s %s\n%s" % (header, _encode(_mac(file_key, header)), nonce)
    cipher = ChaCha20Poly1305(_derive(file_key, b"payload", salt=nonce))
    counter, pending = 0, bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) > CHUNK_BYTES:  # the last chunk is full, or shorter, but never empty
            yield cipher.encrypt(_nonce(counter, last=False), bytes(pending[:CHUNK_BYTES]), None)
            del pending[:CHUNK_BYTES]
            counter += 1
    yield cipher.encrypt(_nonce(counter, last=True), bytes(pending), None)


def decrypt(read: Read, passphrase: Callable[[], bytes], where: str) -> Iterator[bytes]:
    """Yield the content in chunks. Each chunk is authentic; the file is complete only at the end.

    `passphrase` is called only for a well-formed file. Raises `FormatError` for anything but an age file with
    a passphrase, `KeyFileError` for a wrong passphrase, and `IntegrityError` for a damaged or truncated file.
    """
    salt, work_factor, wrapped, mac, header = _read_header(read, where)
    wrap_key = _wrap_key(passphrase(), salt, work_factor)
    try:
        file_key = ChaCha20Poly1305(wrap_key).decrypt(bytes(12), wrapped, None)
    except InvalidTag as error:
        hint = "the passphrase is wrong, or the first lines of the file are damaged"
        raise KeyFileError("cannot decrypt", subject=where, hint=hint) from error
    if _mac(file_key, header) != mac:  # whoever has the passphrase knows both
        raise IntegrityError("the header was changed", subject=where)
    cipher = ChaCha20Poly1305(_derive(file_key, b"payload", salt=_exactly(read, 16, where)))
    counter, chunk = 0, read(CHUNK_BYTES + _TAG_BYTES)
    while True:
        following = read(CHUNK_BYTES + _TAG_BYTES)
        try:
            plain = cipher.decrypt(_nonce(counter, last=not following), chunk, None)
        except InvalidTag as error:
            at = counter * (CHUNK_BYTES + _TAG_BYTES)
            raise IntegrityError(
                "damaged or truncated", subject=where, got=f"wrong bytes after byte {at:,} of the content"
            ) from error
        if not plain and counter:
            raise IntegrityError("an empty chunk at the end", subject=where)
        yield plain
        if not following:
            return
        counter, chunk = counter + 1, following


def _read_header(read: Read, where: str) -> tuple[bytes, int, bytes, bytes, bytes]:
    """Return the salt, the work factor, the wrapped file key, the MAC and the bytes that it covers."""
    if _read_line(read) != _VERSION:
        raise FormatError("not an encrypted backup", subject=where, want="an age file, version 1")
    lines = [_read_line(read) for _ in range(3)]
    matches = [rule.fullmatch(line) for rule, line in zip((_RECIPIENT, _BODY, _MAC), lines, strict=True)]
    if any(match is None for match in matches):
        raise FormatError("not an age file with one passphrase", subject=where)
    recipient, body, mac = (match for match in matches if match is not None)
    work_factor = int(recipient[2])
    if work_factor > MAX_AGE_WORK_FACTOR:
        raise FormatError(
            "the passphrase needs too much memory", subject=where, want=f"work factor {MAX_AGE_WORK_FACTOR}",
            got=work_factor,
        )  # fmt: skip
    header = _VERSION + lines[0] + lines[1] + b"---"
    return _decode(recipient[1], where), work_factor, _decode(body[1], where), _decode(mac[1], where), header


def _read_line(read: Read) -> bytes:
    line = bytearray()
    while len(line) < MAX_AGE_LINE_BYTES and (byte := read(1)):
        line += byte
        if byte == b"\n":
            break
    return bytes(line)


def _exactly(read: Read, size: int, where: str) -> bytes:
    if len(found := read(size)) != size:
        raise IntegrityError("truncated", subject=where)
    return found


def _wrap_key(passphrase: bytes, salt: bytes, work_factor: int) -> bytes:
    return Scrypt(salt=_SCRYPT_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1).derive(passphrase)


def _derive(key: bytes, info: bytes, *, salt: bytes | None = None) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def _mac(file_key: bytes, header: bytes) -> bytes:
    code = hmac.HMAC(_derive(file_key, b"header"), hashes.SHA256())
    code.update(header)
    return code.finalize()


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + bytes([last])


def _encode(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


def _decode(text: bytes, where: str) -> bytes:
    """Decode base64 without padding. Only the canonical form is accepted."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise FormatError("not base64", subject=where) from error
    if _encode(raw) != text:
        raise FormatError("not canonical base64", subject=where)
    return raw
