"""Credential helpers: the programs `docker-credential-NAME`, which keep logins.

The protocol (docker/docker-credential-helpers) is a word on the command line, an address on standard input,
and JSON on standard output. A helper's output is never repeated: it may be a secret.
"""

import contextlib
import json
import logging
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping

from airgap.endpoints.docker.config import field
from airgap.endpoints.logins import Credentials, HelperError
from airgap.errors import describe_cause
from airgap.limits import CREDENTIAL_HELPER_SECONDS, MAX_HELPER_ANSWER_BYTES
from airgap.programs import await_pipes

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,100}", re.ASCII)
_NOT_FOUND = re.compile(
    rb"credentials? not found|could not be found in the keychain|no credentials ", re.IGNORECASE
)
_IDENTITY = "<token>"
_FAILED = "cannot read the registry logins of Docker"


def ask_helper(
    name: str, address: str, host: str, seconds: float = CREDENTIAL_HELPER_SECONDS, path: str | None = None
) -> Credentials | None:
    """Return the login that the helper `name` has for `address`; None if it has none.

    Raises `HelperError`, about `host`, if the program is missing, fails, or does not end within `seconds`.
    """
    program = f"docker-credential-{name}"
    executable = shutil.which(program, path=path) if _NAME.fullmatch(name) else None
    if executable is None:
        raise HelperError(
            "the credential helper is not installed",
            subject=host,
            want=f"{program} on PATH",
            hint="install it, or remove it from credsStore or credHelpers in Docker's config.json",
        )
    log.info("asking %s for the login for %s", program, host)
    raw = _run(executable, address, program, host, seconds)
    return None if raw is None else _parse(raw, program, host)


def _run(path: str, address: str, program: str, host: str, seconds: float) -> bytes | None:
    deadline = time.monotonic() + seconds
    try:
        process = subprocess.Popen(
            [path, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            raw = _exchange(process, address.encode(), deadline)
            code = process.wait(max(deadline - time.monotonic(), 0.1))
        finally:
            _end(process)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise _failed(host, program, f"no answer in {seconds:g} seconds") from None
    except OSError as error:
        raise _failed(host, program, describe_cause(error)) from error
    if code and _NOT_FOUND.search(raw):
        return None
    if code:
        raise _failed(host, program, f"exit status {code}")
    return raw


def _exchange(process: "subprocess.Popen[bytes]", address: bytes, deadline: float) -> bytes:
    """Return the helper's output, up to a limit. A program that it started may keep the pipe open for
    longer.
    """
    if process.stdin is None or process.stdout is None:
        raise AssertionError("opened as pipes")
    with contextlib.suppress(BrokenPipeError):  # it ended without reading; its answer still counts
        process.stdin.write(address)
        process.stdin.close()
    raw = bytearray()
    while len(raw) < MAX_HELPER_ANSWER_BYTES:
        if not await_pipes([process.stdout], selectors.EVENT_READ, deadline - time.monotonic()):
            raise TimeoutError
        if not (piece := os.read(process.stdout.fileno(), 1 << 16)):
            break
        raw += piece
    return bytes(raw)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _parse(raw: bytes, program: str, host: str) -> Credentials | None:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        raise _failed(host, program, "an answer that is not JSON" if raw.strip() else "no answer") from None
    user, secret = (_text(answer, key) for key in ("Username", "Secret"))
    if user is None or secret is None:
        raise _failed(host, program, "an answer without a user name and a secret")
    if not user and not secret:
        return None
    if user == _IDENTITY:
        return Credentials("", identity_token=secret, origin=program)
    return Credentials(user, secret, origin=program)


def _text(answer: object, key: str) -> str | None:
    value = field(answer, key) if isinstance(answer, Mapping) else None
    return value if isinstance(value, str) else None


def _failed(host: str, program: str, got: str) -> HelperError:
    hint = f"does `echo {host} | {program} get` work? docker logout {host}, then docker login {host}"
    return HelperError(_FAILED, subject=host, want=f"a login from {program}", got=got, hint=hint)
