"""Every error that airgap raises, and the exit code of each.

    AirgapError                 1   anything without a code of its own
    ├ UsageError                2   the command line asks for something impossible
    ├ PartialError              3   finished, but some images or hosts failed
    ├ FormatError              10   a manifest or a document is not what its format says
    │   └ AmbiguousError            a document that two readers could read differently
    ├ MediaError               11   a disk or medium failed to read or write
    │   └ NoSpaceError
    ├ IntegrityError           12   bytes are not the bytes that were promised
    │   ├ DigestMismatchError
    │   ├ SizeMismatchError
    │   ├ MissingContentError
    │   └ UnlistedContentError
    ├ TrustError               13   a signature, key or trust root does not hold
    │   ├ NoTrustRootError
    │   ├ UnsignedError
    │   ├ UnknownKeyError
    │   ├ SignatureMismatchError
    │   ├ ThresholdError
    │   └ KeyFileError
    ├ RollbackError            14   an older, replayed or forked bundle
    │   └ ExpiredError              … or one outside its time
    ├ DestinationError         15   a bundle for another site
    ├ PolicyError              16   a rule of the operator forbids it
    ├ LedgerError              17   the audit ledger cannot be written or is broken
    ├ EndpointError            18   a registry or an engine
    │   ├ NotFoundError
    │   ├ AccessDeniedError
    │   │   └ LoginError            the login is refused, or there is none
    │   ├ RefusedError              it does not take this document, or not under this name
    │   │   ├ ImmutableTagError     the name may not be moved
    │   │   └ SparseIndexError      it takes no index of which it lacks manifests
    │   └ UnavailableError          it may work later
    ├ IncompleteError          19   an unfinished bundle, a missing volume or base
    ├ TransportError           20   SSH
    │   └ LinkError                 no connection, or it broke off
    └ InterruptError          130   Ctrl-C, when there is something to tell of what was done before

A code belongs to the class; docs/exit-codes.md has the table.
"""

import errno
import re
from collections.abc import Mapping
from typing import ClassVar

from airgap.durable import LOCKS_HINT, NO_LOCKS
from airgap.hiding import hide


def printable(text: object) -> str:
    """`text` with every control, bidirectional and unassigned character escaped, and logins hidden (`hide`).

    Names that come off a medium or a network end up on terminals and in ledgers; an escape
    sequence or a right-to-left override there could show an operator something else than is true.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in hide(str(text))
    )


def describe_cause(error: BaseException) -> str:
    """What a foreign exception says: of a refusal by the system, wherever in it that is, its words without
    the numbers and without what wrappers say of themselves. Never empty, and never the name of its class,
    which means something to programmers only.
    """
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or next((arg for arg in inner.args if isinstance(arg, Exception)), None)
    said = _NUMBER.sub("", str(error))
    if said and not said.startswith(type(error).__name__):  # as of http.client's "IncompleteRead(…)"
        return said
    return next((words for kind, words in _SILENT.items() if isinstance(error, kind)), "it gave no reason")


_SILENT: Mapping[type[BaseException], str] = {
    EOFError: "the other side hung up",
    TimeoutError: "no answer in time",
    ConnectionError: "the connection broke",
    MemoryError: "not enough memory",
}
"""Of exceptions that come without a word of their own."""

_NUMBER = re.compile(r"\[Errno (?:-?[0-9]+|None)\] ?")


class AirgapError(Exception):
    """What went wrong, on which subject, what was wanted, what was got, and what to do.

    `str()` is the one line that people read; `hint` is the remedy, where there is one.
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
    """The command line asks for something that cannot be."""

    exit_code = 2


class PartialError(AirgapError):
    """The work is finished, but some images or hosts failed: `failures` has the error of each, by name."""

    exit_code = 3

    def __init__(
        self, what: str, failures: Mapping[str, AirgapError] = {}, total: int = 0, *, hint: str | None = None
    ) -> None:
        super().__init__(what, got=f"{len(failures)} of {total}" if failures else None, hint=hint)
        self.failures = dict(failures)


class FormatError(AirgapError):
    """A manifest, a document or a name is not what its format says."""

    exit_code = 10


class AmbiguousError(FormatError):
    """A document that two readers could understand differently (CVE-2021-41190 and kin)."""


class MediaError(AirgapError):
    """A disk or medium refused to read or to write."""

    exit_code = 11

    @classmethod
    def of(cls, error: OSError, what: str = "cannot be reached", subject: object = None) -> "MediaError":
        """What the system refused, as ours: with the file that it names where there is no `subject`. To be
        raised `from` it.
        """
        subject = error.filename if subject is None else subject
        got = error.strerror or str(error)
        if error.errno == errno.EFBIG:
            hint = "the file system or `ulimit -f` takes no file that large; --volume-size cuts a bundle"
            return NoSpaceError(what, subject=subject, got=got, hint=hint)
        if error.errno in _FULL:
            hint = "free some space or choose another medium, then run the same command again"
            return NoSpaceError(what, subject=subject, got=got, hint=hint)
        if error.errno in _TOO_MANY:
            hint = "raise the limit of open files, as with `ulimit -n 1024`"
            return MediaError(what, subject=subject, got=got, hint=hint)
        no_locks = error.errno == errno.ENOLCK or (what == "cannot lock" and error.errno in NO_LOCKS)
        return MediaError(what, subject=subject, got=got, hint=LOCKS_HINT if no_locks else None)


class NoSpaceError(MediaError):
    """The medium is full, or will be."""


_TOO_MANY = {errno.EMFILE, errno.ENFILE}
_FULL = {errno.ENOSPC, errno.EDQUOT}
"""How a system says so."""

_THE_PATH = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""Nothing there, something else, or not for us."""


def disk_failed(error: OSError) -> bool:
    """Whether the disk is to blame for an error, and not the path that was named."""
    return error.errno not in _THE_PATH


class IntegrityError(AirgapError):
    """Bytes are not the bytes that were promised."""

    exit_code = 12


class DigestMismatchError(IntegrityError):
    """Content of the right size with another digest."""


class SizeMismatchError(IntegrityError):
    """Content that is shorter or longer than its descriptor says."""


class MissingContentError(IntegrityError):
    """Content that is named but not there."""


class UnlistedContentError(IntegrityError):
    """Content that is there but named nowhere, or is no regular file."""


class TrustError(AirgapError):
    """A signature, a key or a trust root does not hold."""

    exit_code = 13


class NoTrustRootError(TrustError):
    """No trust root is installed here, so nothing can be trusted yet."""


class UnsignedError(TrustError):
    """No signature at all."""


class UnknownKeyError(TrustError):
    """Signed, but by no key that the trust root gives this role."""


class SignatureMismatchError(TrustError):
    """A signature of a known key does not fit the bytes."""


class ThresholdError(TrustError):
    """Some signatures hold, but fewer than the trust root demands."""


class KeyFileError(TrustError):
    """A key file cannot be used: wrong passphrase, readable by others, unknown kind."""


class RollbackError(AirgapError):
    """An older, replayed or forked bundle."""

    exit_code = 14


class ExpiredError(RollbackError):
    """A bundle or a trust root outside the time in which it may be used."""


class DestinationError(AirgapError):
    """A bundle for another site."""

    exit_code = 15


class PolicyError(AirgapError):
    """A rule of the operator forbids it: a tag conflict, a foreign licence, a deny-list."""

    exit_code = 16


class LedgerError(AirgapError):
    """The audit ledger cannot be written or is broken; nothing goes on without it."""

    exit_code = 17


class EndpointError(AirgapError):
    """A registry, an engine or another neighbour did not do what was asked."""

    exit_code = 18
    status: int = 0
    """The HTTP status of the refusal; 0 for what is none."""


class NotFoundError(EndpointError):
    """The endpoint does not have it."""


class RefusedError(EndpointError):
    """The endpoint does not take this document, or not under this name; it may take others."""


class ImmutableTagError(RefusedError):
    """The name means something else at the endpoint, and may not be moved there."""


class SparseIndexError(RefusedError):
    """The endpoint refuses an image index because it does not have all the manifests in it."""


class AccessDeniedError(EndpointError):
    """The endpoint wants a login, or refuses ours."""


class LoginError(AccessDeniedError):
    """The login itself is refused, or there is none: nothing else will go better."""


class UnavailableError(EndpointError):
    """The endpoint cannot be reached or is overloaded; the same call may work later."""


class IncompleteError(AirgapError):
    """An unfinished bundle, a missing volume, or a base that is not there."""

    exit_code = 19


class TransportError(AirgapError):
    """SSH failed: the link, the host key, or the far side's disk."""

    exit_code = 20


class LinkError(TransportError):
    """There is no connection, or it broke off: another one may hold."""


class InterruptError(AirgapError):
    """Ctrl-C between several things that are done one after the other: those before it are done."""

    exit_code = 130
