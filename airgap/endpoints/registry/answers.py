"""Reads the answers of a registry, without trusting their headers or documents."""

from airgap.endpoints.registry.transport import Response
from airgap.errors import DigestMismatchError, EndpointError, FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.strict_json import MAX_BYTES

NO_HEAD = (405, 501)


def read(response: Response) -> bytes:
    """Read a document of at most 4 MiB."""
    return response.read(MAX_BYTES)


def media_type(response: Response) -> str:
    """Return the media type in lower case, without parameters; empty if the header is missing."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def from_head(response: Response, asked: Digest | None, subject: str) -> Descriptor | None:
    """Return the descriptor in the headers of an answer to HEAD, or None if a part of it is missing."""
    with response:
        named, size = _named_digest(response, subject), response.length
        if response.status in NO_HEAD or named is None or size is None:
            return None
        if asked is not None and named.algorithm != asked.algorithm:
            return None
        _check_digest(named, asked, subject)
        return Descriptor(media_type(response), named, size)


def from_body(response: Response, asked: Digest | None, subject: str) -> Descriptor:
    """Return the descriptor of the document in the answer."""
    named, raw = _named_digest(response, subject), read(response)
    if named is not None:
        _check_digest(Digest.of(raw, named.algorithm), named, subject)
    found = Digest.of(raw, asked.algorithm if asked else "sha256")
    _check_digest(found, asked, subject)
    return Descriptor(media_type(response), found, len(raw))


def is_rest(response: Response, offset: int, size: int) -> bool:
    """Return whether the answer is the bytes from `offset` to the end of `size` (RFC 9110 §14.4)."""
    wanted = f"bytes {offset}-{size - 1}"
    found = response.headers.get("Content-Range", "")
    return response.status == 206 and found in (f"{wanted}/{size}", f"{wanted}/*")


def no_rest(response: Response, offset: int, size: int, subject: str) -> EndpointError:
    """Return the error for an answer that is not the requested rest."""
    found = response.headers.get("Content-Range", "")[:80] or f"HTTP {response.status}"
    return EndpointError(
        "cannot resume the download", subject=subject, want=f"bytes {offset}-{size - 1}/{size}", got=found
    )


def check_stored(response: Response, digest: Digest, subject: str) -> None:
    """Raise `DigestMismatchError` if the registry reports another digest for what it has stored."""
    with response:
        named = _named_digest(response, subject)
    if named is not None and named.algorithm == digest.algorithm:
        _check_digest(named, digest, subject)


def _named_digest(response: Response, subject: str) -> Digest | None:
    """Return the digest that the registry reports for its answer."""
    text = response.headers.get("Docker-Content-Digest")
    if text is None:
        return None
    try:
        return Digest.parse(text)
    except FormatError as error:
        raise EndpointError(
            "the registry sent an invalid digest", subject=subject, got=repr(text[:80])
        ) from error


def _check_digest(found: Digest, asked: Digest | None, subject: str) -> None:
    if asked is not None and found != asked:
        raise DigestMismatchError(
            "the registry reports a different digest", subject=subject, want=asked, got=found
        )
