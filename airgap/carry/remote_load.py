"""Load a bundle on a remote host after it was sent: by the host's own airgap, or from this machine into its
Docker engine.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from airgap import errors
from airgap.audit.receipt import VERDICTS, Verdict
from airgap.endpoints.remote import CommandResult, Host
from airgap.errors import AirgapError, FormatError, PartialError, TransportError
from airgap.limits import (
    MAX_ENVELOPE_BYTES,
    MAX_REMOTE_RESULT_BYTES,
    MAX_REMOTE_TEXT_CHARACTERS,
    REMOTE_ANSWER_SECONDS,
)
from airgap.oci.strict_json import Fields, parse_object
from airgap.progress import Progress
from airgap.values import dataclass


class LoadWay(StrEnum):
    """Which airgap loaded the bundle on a remote host."""

    THERE = "by airgap there"
    FROM_HERE = "from here into its Docker engine"


_VERSION = re.compile(rb"airgap [0-9][0-9A-Za-z.+-]{0,40}\s*")


@dataclass(frozen=True, slots=True)
class LoadedThere:
    """The result of a load on a remote host."""

    way: LoadWay
    images: tuple[tuple[str, str], ...]
    """Reference and verdict of each image."""
    receipt: str
    """The path of the receipt: on the host or, if the bundle was loaded from here, on this machine."""
    failure: AirgapError | None = None


class PipingHost(Host, Protocol):
    """A host that can run a program with its input and output connected to us."""

    def pipe(self, argv: Sequence[str]) -> object:
        """Start a program and return its input and output as a socket."""


LoadFromHere = Callable[[PipingHost, Progress], LoadedThere]
"""Load the bundle from this machine into the host's engine, over the existing connection."""


def has_airgap(host: Host) -> bool:
    """Return whether the login finds an `airgap` program on the host."""
    ran = host.run(["airgap", "--version"], 4096, REMOTE_ANSWER_SECONDS)
    return ran is not None and ran.code == 0 and _VERSION.fullmatch(ran.out) is not None


def cannot_load_error(host: Host) -> TransportError:
    """Return the error for a host without airgap whose target is not its Docker engine."""
    return TransportError(
        "airgap is not installed on the host",
        subject=host.name,
        got="no `airgap` in the PATH of the login",
        hint="install airgap on the host, or load into its Docker engine without it: --load docker",
    )


def check_remote_can_load(host: Host) -> None:
    """Raise the error that would make the host's airgap refuse every load, such as a missing site or trust
    root, before the first byte is sent.
    """
    ran = host.run(["airgap", "trust", "show", "--json"], MAX_REMOTE_RESULT_BYTES, REMOTE_ANSWER_SECONDS)
    if ran is None:
        raise TransportError("cannot run airgap on the host", subject=host.name)
    if ran.code == 0:
        return
    with _understood(ran, where := f"{host.name}: airgap trust show"):
        failure = _failure(Fields(parse_object(ran.out, where), where), ran, host.name)
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _understood(ran: CommandResult, where: str) -> Iterator[None]:
    """Raise `TransportError`, with the program's output, if its answer is malformed."""
    try:
        yield
    except FormatError as error:
        stderr = ran.err.decode("utf-8", "replace").strip()[-MAX_REMOTE_TEXT_CHARACTERS:]
        got = f"exit code {ran.code}: {stderr}" if ran.code else error
        raise TransportError("cannot understand the answer", subject=where, got=got) from error


def load_there(host: Host, folder: str, target: str, sha256: str, references: Collection[str]) -> LoadedThere:
    """Have the host's own airgap load the bundle from `folder` on the host, and check that the answer is
    about the statement `sha256` and exactly the images in `references`.

    Raises the error of the remote load, in its own class, and `TransportError` for an answer that cannot be
    understood.
    """
    ran = host.run(["airgap", "load", folder, "--to", target, "--json", "--quiet"], MAX_REMOTE_RESULT_BYTES)
    if ran is None:
        raise TransportError("cannot run airgap on the host", subject=host.name)
    where = f"{host.name}: airgap load"
    with _understood(ran, where):
        fields = Fields(parse_object(ran.out, where), where)
        failure = _failure(fields, ran, host.name)
        if failure is None or fields.has("images"):
            return _loaded(fields, sha256, references, failure)
    raise failure


def read_receipt(host: Host, path: str) -> bytes:
    """Return the bytes of a receipt that the host's airgap wrote; they are not proved."""
    raw = bytearray()
    host.read(path, MAX_ENVELOPE_BYTES + 1, raw.extend)
    if not 0 < len(raw) <= MAX_ENVELOPE_BYTES:
        want = f"1 to {MAX_ENVELOPE_BYTES:,} bytes"
        raise TransportError("not a receipt", subject=f"{host.name}:{path}", want=want, got=len(raw))
    return bytes(raw)


def _loaded(
    fields: Fields, sha256: str, references: Collection[str], failure: AirgapError | None
) -> LoadedThere:
    """Parse the answer. It goes into our ledger, so it may name only the bundle's images, and its length is
    limited.
    """
    loaded_sha256 = fields.text("statement_sha256")
    if loaded_sha256 != sha256:
        raise TransportError(
            "another bundle was loaded", subject=fields.where, want=sha256, got=loaded_sha256
        )
    images = tuple((item.text("reference"), item.text("verdict")) for item in fields.children("images"))
    for reference, verdict in images:
        if reference not in references or verdict not in VERDICTS:
            raise FormatError(
                "not an image of the bundle", subject=fields.where, got=f"{reference}: {verdict}"[:300]
            )
    names = [reference for reference, _ in images]
    if sorted(names) != sorted(references):
        raise FormatError(
            "the answer does not name each image of the bundle once", subject=fields.where, got=len(names)
        )
    if failure is None and Verdict.FAILED in (verdict for _, verdict in images):
        raise FormatError("the answer has a failed image but no error", subject=fields.where)
    return LoadedThere(LoadWay.THERE, images, fields.text("receipt")[:MAX_REMOTE_TEXT_CHARACTERS], failure)


def _failure(fields: Fields, ran: CommandResult, host: str) -> AirgapError | None:
    """Return the error that the remote airgap reported, in its own class; None if it succeeded."""
    if not fields.has("error") or fields.take("error") is None:
        if ran.code:
            raise FormatError("the answer has an exit code but no error", subject=fields.where, got=ran.code)
        return None
    error = fields.child("error")
    kind = getattr(errors, error.text("kind"), None)
    if not (isinstance(kind, type) and issubclass(kind, AirgapError) and kind.exit_code == ran.code):
        raise FormatError("not an airgap error", subject=error.where, got=error.text("kind")[:80])
    message, advice = (
        error.text("message")[:MAX_REMOTE_TEXT_CHARACTERS],
        (error.optional_text("hint") or "")[:MAX_REMOTE_TEXT_CHARACTERS],
    )
    hint = f"on {host}: {advice}" if advice else None
    if issubclass(kind, PartialError):
        return PartialError(f"on {host}: {message}", hint=hint)
    return kind(f"on {host}: {message}", hint=hint)
