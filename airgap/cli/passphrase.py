"""Reads passphrases from a file, the environment or a prompt, but never from the command line."""

import getpass
import os
import sys
from pathlib import Path

from airgap.cli import console
from airgap.errors import KeyFileError, WrongPassphraseError
from airgap.site import Passphrase, Site
from airgap.trust.keyfile import read_private
from airgap.trust.keys import LateKey, Signer, SigningKey

VARIABLE = "AIRGAP_PASSPHRASE"
NEW_VARIABLE = "AIRGAP_NEW_PASSPHRASE"
_MIN_BYTES = 8
_TRIES = 3
"""Times that a person may type the passphrase of a key."""
_HINT = f"use --passphrase-file or {VARIABLE}, or run it on a terminal"


def existing(path: Path | None, what: str = "the signing key") -> Passphrase:
    """Return a function that reads the passphrase of an existing key when it is needed."""
    return lambda: _given(path) or _ask(f"Passphrase of {what}: ")


def signing_key(site: Site, owner: str | None, path: Path | None, what: str = "the signing key") -> Signer:
    """Return the key of `owner`, or the one that signs bundles at `site`.

    A passphrase from a file or the environment is used at once. A person is asked for it when the key signs:
    last, after all that can fail, and again after a typing mistake.
    """
    owner = owner or site.default_owner()
    key_path = site.key_path(owner)
    public = site.public_keys().get(owner)
    if public is None or _given(path) is not None or not (sys.stdin and sys.stdin.isatty()):
        return SigningKey.load(key_path, existing(path, what))
    read_private(key_path)  # a file that cannot be used is refused before the work, not after it
    return LateKey(public, lambda: _load(key_path, what))


def _load(path: Path, what: str) -> SigningKey:
    for _ in range(_TRIES - 1):
        try:
            return SigningKey.load(path, existing(None, what))
        except WrongPassphraseError:
            console.say("that is not the passphrase of the key; try again\n")
    return SigningKey.load(path, existing(None, what))


def chosen(path: Path | None, what: str = "the signing key") -> bytes:
    """Return a new passphrase of 8 bytes or more for `what`. A prompt asks for it twice."""
    return _new(_given(path), what)


def replacement(path: Path | None, what: str) -> bytes:
    """Return a new passphrase of `what`, which has one already: `AIRGAP_PASSPHRASE` is the present one."""
    return _new(_given(path, NEW_VARIABLE), what)


def _new(given: bytes | None, what: str) -> bytes:
    if given:
        return _long_enough(given)
    first = _ask(f"New passphrase of {what}: ")
    if not first:
        raise KeyFileError("the passphrase is empty", hint=f"{what} is never stored unencrypted")
    _long_enough(first)
    if first != _ask("Repeat the passphrase: "):
        raise KeyFileError("the two passphrases differ")
    return first


def _long_enough(passphrase: bytes) -> bytes:
    """Refuse a short passphrase: whoever finds the key file tries those first."""
    if len(passphrase) < _MIN_BYTES:
        raise KeyFileError(
            "the passphrase is too short", want=f"{_MIN_BYTES} bytes or more", got=len(passphrase)
        )
    return passphrase


def _given(path: Path | None, variable: str = VARIABLE) -> bytes | None:
    if path is not None:
        try:
            with path.open("rb") as file:
                text = file.read(4096)
        except OSError as error:
            raise KeyFileError("cannot read the passphrase", subject=path, got=error.strerror) from error
        if not (text := text.split(b"\n")[0].rstrip(b"\r")):
            raise KeyFileError("the passphrase is empty", subject=path)
        return text
    return os.environ.get(variable, "").encode() or None


def _ask(question: str) -> bytes:
    if not (sys.stdin and sys.stdin.isatty()):
        raise KeyFileError("no passphrase", hint=_HINT)
    return getpass.getpass(question, stream=sys.stderr).encode()
