"""Loading on the far side, after a bundle was sent: by its own airgap, else from here into its engine."""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from airgap import errors
from airgap.audit.receipt import VERDICTS, Verdict
from airgap.endpoints.remote import Host, Ran
from airgap.errors import AirgapError, FormatError, PartialError, TransportError
from airgap.oci.strict_json import Fields, parse_object
from airgap.progress import Progress

THERE, FROM_HERE = "by airgap there", "from here into its Docker engine"

_ANSWER_SECONDS = 60.0
_MAX_RESULT = 4 << 20
_MAX_TEXT = 2000
_VERSION = re.compile(rb"airgap [0-9][0-9A-Za-z.+-]{0,40}\s*")


@dataclass(frozen=True, slots=True)
class LoadedThere:
    """What a load on a far host did."""

    way: str
    """`THERE` or `FROM_HERE`."""
    images: tuple[tuple[str, str], ...]
    """The reference and the verdict of each."""
    receipt: str
    """The file of the receipt: on the host, or here."""
    failure: AirgapError | None = None


class PipingHost(Host, Protocol):
    """A host whose programs can be spoken with."""

    def pipe(self, argv: Sequence[str]) -> object:
        """A program whose input and output are used as a socket."""


LoadFromHere = Callable[[PipingHost, Progress], LoadedThere]
"""Loads the bundle from this machine into the host's engine, over the link that is there."""


def has_airgap(host: Host) -> bool:
    """Whether the login finds an airgap there."""
    ran = host.run(["airgap", "--version"], 4096, _ANSWER_SECONDS)
    return ran is not None and ran.code == 0 and _VERSION.fullmatch(ran.out) is not None


def cannot_load_error(host: Host) -> TransportError:
    """For a host that has no airgap, when something else than its engine is to be loaded."""
    return TransportError(
        "no airgap there to load with",
        subject=host.name,
        got="no `airgap` in the PATH of its login",
        hint="install airgap there; a Docker engine can be loaded without: --load docker",
    )


def check_remote_can_load(host: Host) -> None:
    """Raise what keeps the airgap there from loading anything, a site or a trust root that it lacks: known
    before the first byte is sent, and not after the last.
    """
    ran = host.run(["airgap", "trust", "show", "--json"], _MAX_RESULT, _ANSWER_SECONDS)
    if ran is None:
        raise TransportError("cannot run airgap there", subject=host.name)
    if ran.code == 0:
        return
    with _understood(ran, where := f"{host.name}: airgap trust show"):
        failure = _failure(Fields(parse_object(ran.out, where), where), ran, host.name)
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _understood(ran: Ran, where: str) -> Iterator[None]:
    """Raises `TransportError`, with what the program said, for an answer that is not what it should be."""
    try:
        yield
    except FormatError as error:
        said = ran.err.decode("utf-8", "replace").strip()[-_MAX_TEXT:]
        got = f"exit code {ran.code}: {said}" if ran.code else error
        raise TransportError("no answer that can be understood", subject=where, got=got) from error


def load_there(host: Host, folder: str, target: str, sha256: str, references: Collection[str]) -> LoadedThere:
    """Have the host's own airgap load the bundle with this statement, which is in `folder` there and has
    images of these names.

    Raises what the load raises, as the class that it is there, and `TransportError` for an answer that
    cannot be understood.
    """
    ran = host.run(["airgap", "load", folder, "--to", target, "--json", "--quiet"], _MAX_RESULT)
    if ran is None:
        raise TransportError("cannot run airgap there", subject=host.name)
    where = f"{host.name}: airgap load"
    with _understood(ran, where):
        fields = Fields(parse_object(ran.out, where), where)
        failure = _failure(fields, ran, host.name)
        if failure is None or fields.has("images"):
            return _loaded(fields, sha256, references, failure)
    raise failure


def _loaded(
    fields: Fields, sha256: str, references: Collection[str], failure: AirgapError | None
) -> LoadedThere:
    """What it says goes into our ledger, so it may speak of the bundle's images only, and not at length."""
    found = fields.text("statement_sha256")
    if found != sha256:
        raise TransportError("another bundle was loaded", subject=fields.where, want=sha256, got=found)
    images = tuple((item.text("reference"), item.text("verdict")) for item in fields.children("images"))
    for reference, verdict in images:
        if reference not in references or verdict not in VERDICTS:
            raise FormatError(
                "not an image of the bundle", subject=fields.where, got=f"{reference}: {verdict}"[:300]
            )
    told = [reference for reference, _ in images]
    if sorted(told) != sorted(references):
        raise FormatError("not each image of the bundle once", subject=fields.where, got=len(told))
    if failure is None and Verdict.FAILED in (verdict for _, verdict in images):
        raise FormatError("an image that failed without an error", subject=fields.where)
    return LoadedThere(THERE, images, fields.text("receipt")[:_MAX_TEXT], failure)


def _failure(fields: Fields, ran: Ran, host: str) -> AirgapError | None:
    """The error that the far airgap tells of, as its own class."""
    if not fields.has("error") or fields.take("error") is None:
        if ran.code:
            raise FormatError("an exit code without an error", subject=fields.where, got=ran.code)
        return None
    error = fields.child("error")
    kind = getattr(errors, error.text("kind"), None)
    if not (isinstance(kind, type) and issubclass(kind, AirgapError) and kind.exit_code == ran.code):
        raise FormatError("not an error of airgap", subject=error.where, got=error.text("kind")[:80])
    said, advice = error.text("message")[:_MAX_TEXT], (error.optional_text("hint") or "")[:_MAX_TEXT]
    hint = f"on {host}: {advice}" if advice else None
    if issubclass(kind, PartialError):
        return PartialError(f"on {host}: {said}", hint=hint)
    return kind(f"on {host}: {said}", hint=hint)
