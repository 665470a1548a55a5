"""Where passphrases come from: a file, the environment, or a question. Never the command line."""

import getpass
import os
import sys
from pathlib import Path

from airgap.errors import KeyFileError
from airgap.site import Passphrase

VARIABLE = "AIRGAP_PASSPHRASE"
_HINT = f"give it by --passphrase-file, in {VARIABLE}, or on a terminal"


def existing(path: Path | None, what: str = "the signing key") -> Passphrase:
    """The passphrase of a key that exists, found out when it is needed."""
    return lambda: _given(path) or _ask(f"Passphrase of {what}: ")


def chosen(path: Path | None) -> bytes:
    """A passphrase for a new key; asked for twice, never empty."""
    if given := _given(path):
        return given
    first = _ask("New passphrase for the signing key: ")
    if not first:
        raise KeyFileError("the passphrase is empty", hint="a signing key is never kept unencrypted")
    if first != _ask("The same again: "):
        raise KeyFileError("the two passphrases differ")
    return first


def _given(path: Path | None) -> bytes | None:
    if path is not None:
        try:
            with path.open("rb") as file:
                text = file.read(4096)
        except OSError as error:
            raise KeyFileError("cannot read the passphrase", subject=path, got=error.strerror) from error
        if not (text := text.split(b"\n")[0].rstrip(b"\r")):
            raise KeyFileError("the passphrase is empty", subject=path)
        return text
    return os.environ.get(VARIABLE, "").encode() or None


def _ask(question: str) -> bytes:
    if not (sys.stdin and sys.stdin.isatty()):
        raise KeyFileError("no passphrase", hint=_HINT)
    return getpass.getpass(question, stream=sys.stderr).encode()
