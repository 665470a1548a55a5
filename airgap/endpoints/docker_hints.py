"""What to try when no engine answers."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from airgap.endpoints.docker_config import home_folder
from airgap.endpoints.docker_context import EngineAddress

_VERIFY_FAILED = "CERTIFICATE_VERIFY_FAILED"
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA")


def reach_hint(
    address: EngineAddress,
    program: str,
    error: BaseException,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """For an `address` at which `error` came in the place of an answer."""
    url = address.url
    if url.startswith("ssh://"):
        return f"does `ssh {url} {program} version` work?"
    if url.startswith("unix://"):
        path = url.removeprefix("unix://")
        hint = f"is dockerd running? may this user read {path}?"
        if url.endswith("/podman.sock"):
            hint = "systemctl start podman.socket, or systemctl --user start podman.socket"
        others = [f"unix://{at}" for at in sockets(environ) if at != path and Path(at).exists()]
        if others:
            hint += f" Another engine may be at {' or '.join(others)}: set DOCKER_HOST to it"
        return hint
    return _tls_hint(address, str(error)) or "is dockerd running, and does it listen there?"


def _tls_hint(address: EngineAddress, words: str) -> str | None:
    if address.tls is None:
        return None
    if _VERIFY_FAILED in words:
        ca = address.tls.ca or "the system's CAs"
        return f"its certificate is checked with {ca}; REQUESTS_CA_BUNDLE and its kin do not count here"
    if any(sign in words for sign in _WANTS_CERTIFICATE):
        return f"it wants a client certificate: {address.tls.certificate or 'cert.pem and key.pem'} was shown"
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
        return "the engine has no TLS there: unset DOCKER_TLS_VERIFY and DOCKER_TLS"
    return None


def sockets(environ: Mapping[str, str]) -> Iterator[str]:
    """Where engines listen that `docker` does not use by itself: rootless ones, Docker Desktop, podman."""
    folders = dict.fromkeys(filter(None, (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}")))
    yield "/var/run/docker.sock"
    for folder in folders:
        yield f"{folder}/docker.sock"
    if (home := home_folder(environ)) is not None:
        yield f"{home}/.docker/run/docker.sock"
        yield f"{home}/.docker/desktop/docker.sock"
    for folder in folders:
        yield f"{folder}/podman/podman.sock"
    yield "/run/podman/podman.sock"
