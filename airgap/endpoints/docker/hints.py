"""Explanations of an engine's failures, and what to try."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from airgap.endpoints.docker.config import user_home
from airgap.endpoints.docker.context import EngineAddress
from airgap.errors import describe_cause

_BASE = "the engine lacks layers that the bundle leaves out: load its base bundle first"
_VERIFY_FAILED = "CERTIFICATE_VERIFY_FAILED"
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA")


def reach_hint(
    address: EngineAddress,
    program: str,
    error: BaseException,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Return the hint for an engine that did not answer.

    Args:
        address: The address that was tried.
        program: The client of the engine: `docker` or `podman`.
        error: The error that occurred instead of an answer.
        environ: The environment, which may name other sockets.
    """
    url = address.url
    if url.startswith("ssh://"):
        server = "/".join(url.split("/")[:3])  # without the socket's path
        return f"does `ssh {server} {program} version` work?"
    if url.startswith("unix://"):
        path = url.removeprefix("unix://")
        hint = f"is dockerd running? may this user read {path}?"
        if url.endswith("/podman.sock"):
            hint = "systemctl start podman.socket, or systemctl --user start podman.socket"
        others = [f"unix://{at}" for at in sockets(environ) if at != path and Path(at).exists()]
        if others:
            hint += f" Another engine may be at {' or '.join(others)}: set DOCKER_HOST to it"
        return hint
    return _tls_hint(address, _all_words(error)) or "is dockerd running, and does it listen there?"


def _all_words(error: BaseException) -> str:
    inner = _inner(error)
    return str(error) if inner is None else f"{error} {_all_words(inner)}"


def _tls_hint(address: EngineAddress, words: str) -> str | None:
    if address.tls is None:
        return None
    if _VERIFY_FAILED in words:
        ca = address.tls.ca or "the system's CAs"
        return f"its certificate is checked against {ca}; REQUESTS_CA_BUNDLE and the like are ignored"
    if any(sign in words for sign in _WANTS_CERTIFICATE):
        return (
            f"it requires a client certificate: {address.tls.certificate or 'cert.pem and key.pem'} was sent"
        )
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
        return "the engine does not use TLS there: unset DOCKER_TLS_VERIFY and DOCKER_TLS"
    return None


def sockets(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the sockets of engines that `docker` does not use by default: rootless, Docker Desktop,
    podman.
    """
    folders = dict.fromkeys(filter(None, (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}")))
    yield "/var/run/docker.sock"
    for folder in folders:
        yield f"{folder}/docker.sock"
    if (home := user_home(environ)) is not None:
        yield f"{home}/.docker/run/docker.sock"
        yield f"{home}/.docker/desktop/docker.sock"
    for folder in folders:
        yield f"{folder}/podman/podman.sock"
    yield "/run/podman/podman.sock"


_MEANINGS = (
    ("no space left on device", "the disk of the engine is full: docker system df, docker image prune"),
    ("disk quota exceeded", "the disk of the engine is full: docker system df, docker image prune"),
    (
        "http request to an https server",
        "the engine requires TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
    ),
    ("read-only file system", "the disk of the engine is read-only: see its log"),
    ("input/output error", "the disk of the engine has errors: see its log"),
    (
        "forbidden by administrative rules",
        "a proxy in front of the engine's socket forbids it: allow images and POST",
    ),
    ("layer does not exist", _BASE),
    ("layer not found", _BASE),
    ("invalid tar header", "this engine may be too old to unpack the layers: zstd needs Docker 23 or later"),
)


def engine_hint(words: str) -> str | None:
    """Return the remedy for an engine's error message, if there is one."""
    low = words.lower()
    return next((hint for sign, hint in _MEANINGS if sign in low), None)


def wire_words(error: BaseException) -> str:
    """Describe a broken connection, without the wrappers of the libraries."""
    while (inner := _inner(error)) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError) or "timed out" in str(error).lower():
        return "no answer in time"
    if isinstance(error, ConnectionError) or "incompleteread" in repr(error).lower():
        return str(error) if type(error) is ConnectionError else _GONE
    return describe_cause(error)


def _inner(error: BaseException) -> BaseException | None:
    given = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
    return given or error.__cause__ or error.__context__


_GONE = "the engine closed the connection before the end"
