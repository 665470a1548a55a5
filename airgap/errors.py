"""The errors that airgap raises, and the exit code of each.

    AirgapError                 1   any error without a code of its own
    ├ UsageError                2   the command line asks for something impossible
    ├ PartialError              3   finished, but some images or hosts failed
    ├ NoMatchError              4   a search found nothing
    ├ FormatError              10   a manifest or a document does not follow its format
    │   └ AmbiguousError            a document that two readers could read differently
    ├ MediaError               11   reading or writing a disk or medium failed
    │   └ NoSpaceError
    ├ IntegrityError           12   bytes differ from what was signed
    │   ├ DigestMismatchError
    │   ├ SizeMismatchError
    │   ├ MissingContentError
    │   └ UnlistedContentError
    ├ TrustError               13   a signature, key or trust root is not valid
    │   ├ NoTrustRootError
    │   ├ UnsignedError
    │   ├ UnknownKeyError
    │   ├ SignatureMismatchError
    │   ├ ThresholdError
    │   ├ RecalledError             a bundle that the trust root recalls
    │   └ KeyFileError
    │       └ WrongPassphraseError
    ├ RollbackError            14   an older, replayed or forked bundle
    │   └ ExpiredError              … or one outside its validity period
    ├ DestinationError         15   a bundle for another site
    ├ PolicyError              16   a rule of the operator forbids the operation
    │   └ WithheldError             another image failed, and the operator wants all or none
    ├ LedgerError              17   the audit ledger cannot be written or is broken
    ├ EndpointError            18   a registry or an engine failed or refused
    │   ├ NotFoundError
    │   ├ AccessDeniedError
    │   │   └ LoginError            the login is missing or refused
    │   ├ RefusedError              the endpoint rejects this document, or this name for it
    │   │   ├ ImmutableTagError     the name must not be moved
    │   │   └ SparseIndexError      the endpoint rejects an index whose manifests it lacks
    │   └ UnavailableError          the same call may succeed later
    ├ IncompleteError          19   an unfinished bundle, a missing volume or base
    │   └ MissingBaseError
    ├ TransportError           20   SSH failed
    │   └ LinkError                 the connection failed or was lost
    ├ DriftError               21   a target has other images than were loaded into it
    ├ NotCarriedError          22   deployment files run images that a manifest does not carry
    └ InterruptError          130   Ctrl-C, when earlier steps are done and must be reported

A code belongs to the class; docs/exit-codes.md has the table.
"""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

from airgap.durable import LOCKS_HINT, NO_LOCKS
from airgap.hiding import hide


def printable(text: object) -> str:
    """Escape every control, bidirectional and unassigned character of `text`, and hide logins (`hide`).

    Names from a medium or a network are shown on terminals and written to ledgers. An escape sequence or a
    right-to-left override in them could show an operator something that is not true.
    """
    shown = hide(str(text))
    if shown.isprintable():
        return shown
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in shown
    )


def describe_cause(error: BaseException) -> str:
    """Describe the cause of an exception that is not ours, for people.

    If the operating system refused something, at any depth of the exception, that reason is returned, without
    error numbers and without the text of wrappers. The result is never empty, and never the name of a class,
    which only a programmer understands.
    """
    for cause in iterate_causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    text = _NUMBER.sub("", str(error))
    if text and not text.startswith(type(error).__name__):  # for instance http.client's "IncompleteRead(…)"
        return text
    return next(
        (words for kind, words in _WITHOUT_TEXT.items() if isinstance(error, kind)), "no reason given"
    )


def iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it wraps, to the innermost one."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or next((arg for arg in inner.args if isinstance(arg, Exception)), None)


_WITHOUT_TEXT: Mapping[type[BaseException], str] = {
    EOFError: "the other side closed the connection",
    TimeoutError: "no answer in time",
    ConnectionError: "the connection was lost",
    MemoryError: "not enough memory",
}
"""The descriptions of exceptions that carry no text."""

_NUMBER = re.compile(r"\[Errno (?:-?[0-9]+|None)\] ?")


class AirgapError(Exception):
    """An error: what went wrong, with which subject, what was needed and what was found.

    `str()` is the line that people read; `hint`, if there is one, is what they can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        subject: object = None,
        want: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.subject = subject
        self.want = want
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what if self.subject is None else f"{self.what}: {self.subject}"]
        if self.want is not None:
            parts.append(f"want {self.want}")
        if self.got is not None:
            parts.append(f"got {self.got}")
        return printable(", ".join(parts))


class UsageError(AirgapError):
    """The command line asks for something impossible."""

    exit_code = 2


class PartialError(AirgapError):
    """The work is finished, but some images or hosts failed: `failures` has the error of each, by name."""

    exit_code = 3

    def __init__(
        self, what: str, failures: Mapping[str, AirgapError] = {}, total: int = 0, *, hint: str | None = None
    ) -> None:
        super().__init__(what, got=f"{len(failures)} of {total}" if failures else None, hint=hint)
        self.failures = dict(failures)


class NoMatchError(AirgapError):
    """A search found nothing."""

    exit_code = 4


class FormatError(AirgapError):
    """A manifest, a document or a name does not follow its format."""

    exit_code = 10


class AmbiguousError(FormatError):
    """A document that two readers could understand differently (such as CVE-2021-41190)."""


class MediaError(AirgapError):
    """Reading or writing a disk or medium failed."""

    exit_code = 11

    @classmethod
    def of(cls, error: OSError, what: str = "cannot be reached", subject: object = None) -> "MediaError":
        """Convert an `OSError`. Without a `subject`, the file that the error names is the subject. Raise the
        result `from` the error.
        """
        subject = error.filename if subject is None else subject
        got = error.strerror or str(error)
        if error.errno == errno.EFBIG:
            hint = "the file system or `ulimit -f` limits the file size; --volume-size cuts the bundle"
            return NoSpaceError(what, subject=subject, got=got, hint=hint)
        if error.errno in _FULL:
            hint = "free some space or choose another medium, then run the same command again"
            return NoSpaceError(what, subject=subject, got=got, hint=hint)
        if error.errno in _TOO_MANY:
            hint = "raise the limit of open files, for example with `ulimit -n 1024`"
            return MediaError(what, subject=subject, got=got, hint=hint)
        no_locks = error.errno == errno.ENOLCK or (what == "cannot lock" and error.errno in NO_LOCKS)
        return MediaError(what, subject=subject, got=got, hint=LOCKS_HINT if no_locks else None)


class NoSpaceError(MediaError):
    """The medium is full, or will be."""


_TOO_MANY = {errno.EMFILE, errno.ENFILE}
_FULL = {errno.ENOSPC, errno.EDQUOT}
"""The error numbers of a full file system."""

_THE_PATH = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""The error numbers that are about the path: missing, of another kind, or not permitted."""


def disk_failed(error: OSError) -> bool:
    """Return whether the disk caused the error, and not the path that was given."""
    return error.errno not in _THE_PATH


class IntegrityError(AirgapError):
    """Bytes differ from what was signed."""

    exit_code = 12
    parts: "tuple[IntegrityError, ...]" = ()
    """The single errors, if this one stands for several."""

    @classmethod
    def of_several(cls, parts: "Sequence[IntegrityError]", what: str, *, subject: object, got: str) -> Self:
        """Return one error for several of the same step, with the first hint that one of them has."""
        error = cls(what, subject=subject, got=got, hint=next((e.hint for e in parts if e.hint), None))
        error.parts = tuple(parts)
        return error


class DigestMismatchError(IntegrityError):
    """Content of the right size with another digest."""


class SizeMismatchError(IntegrityError):
    """Content that is shorter or longer than its descriptor says."""


class MissingContentError(IntegrityError):
    """Content that is listed but absent."""


class UnlistedContentError(IntegrityError):
    """Content that is present but not listed, or that is not a regular file."""


class TrustError(AirgapError):
    """A signature, a key or a trust root is not valid."""

    exit_code = 13


class NoTrustRootError(TrustError):
    """No trust root is installed here, so no signature can be checked yet."""


class UnsignedError(TrustError):
    """There is no signature."""


class UnknownKeyError(TrustError):
    """There are signatures, but none by a key that the trust root gives this role."""


class SignatureMismatchError(TrustError):
    """A signature by a known key does not match the bytes."""


class ThresholdError(TrustError):
    """Some signatures are valid, but fewer than the trust root requires."""


class RecalledError(TrustError):
    """The trust root recalls the bundle: its signatures are valid, but it must not be used any more."""


class KeyFileError(TrustError):
    """A key file cannot be used: wrong passphrase, readable by other users, or an unknown kind."""


class WrongPassphraseError(KeyFileError):
    """A key file is not decrypted by its passphrase; a person may try another one."""


class RollbackError(AirgapError):
    """An older, replayed or forked bundle."""

    exit_code = 14


class ExpiredError(RollbackError):
    """A bundle or a trust root outside its validity period."""


class DestinationError(AirgapError):
    """A bundle for another site."""

    exit_code = 15


class PolicyError(AirgapError):
    """A rule of the operator forbids the operation: a tag conflict, a foreign licence, a deny-list."""

    exit_code = 16


class WithheldError(PolicyError):
    """An image that is at the target and gets no name, because another one failed."""


class LedgerError(AirgapError):
    """The audit ledger cannot be written or is broken; airgap does not continue without it."""

    exit_code = 17


class EndpointError(AirgapError):
    """A registry, an engine or another endpoint did not do what was requested."""

    exit_code = 18
    status: int = 0
    """The HTTP status of the response; 0 if there was no response."""


class NotFoundError(EndpointError):
    """The endpoint does not have the content or the name."""


class RefusedError(EndpointError):
    """The endpoint rejects this document, or this name for it; it may accept others."""


class ImmutableTagError(RefusedError):
    """The name belongs to other content at the endpoint, and must not be moved."""


class SparseIndexError(RefusedError):
    """The endpoint refuses an image index because it does not have all the manifests in it."""


class AccessDeniedError(EndpointError):
    """The endpoint requires a login, or refuses ours."""


class LoginError(AccessDeniedError):
    """The login is missing or refused, so all further requests would fail too."""


class UnavailableError(EndpointError):
    """The endpoint cannot be reached or is overloaded; the same call may succeed later."""


class IncompleteError(AirgapError):
    """An unfinished bundle, a missing volume or a missing base."""

    exit_code = 19


class MissingBaseError(IncompleteError):
    """Layers that a delta leaves out are not there."""

    missing: tuple[str, ...] = ()
    """The digests of the layers."""


class TransportError(AirgapError):
    """SSH failed: the connection, the host key, or the remote host's disk."""

    exit_code = 20


class LinkError(TransportError):
    """The connection failed or was lost; a new one may succeed."""


class DriftError(AirgapError):
    """A target has other images than were loaded into it."""

    exit_code = 21


class NotCarriedError(AirgapError):
    """Deployment files run images that a manifest does not carry."""

    exit_code = 22


class InterruptError(AirgapError):
    """Ctrl-C during a sequence of steps; the earlier steps are complete."""

    exit_code = 130
