"""The engine that `docker` itself would use: DOCKER_HOST, DOCKER_CONTEXT, and the current context.

The order and the forms are those of the docker CLI 20.10 to 28 ("Docker contexts" and "Environment variables"
in its manual, and measured): DOCKER_HOST, then DOCKER_CONTEXT, then `currentContext` in config.json.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airgap.endpoints.docker.config import config_folder, field, read_json
from airgap.errors import AccessDeniedError, EndpointError
from airgap.hiding import has_secret, hide
from airgap.values import dataclass

DEFAULT_SOCKET = "/var/run/docker.sock"

_ROOTFUL = "/run/podman/podman.sock"
_DEFAULT = "default"
_PORT = 2375
_MAX_SHOWN = 200
_NO_CONTEXT = "cannot read the docker context"
_NOT_HOST = "not the address of an engine"
_WANT = "unix:///SOCKET, tcp://HOST[:PORT] or ssh://[USER@]HOST[:PORT]"
_CONTROL = re.compile(r"[\x00-\x20\x7f]", re.ASCII)


@dataclass(frozen=True, slots=True)
class EngineTls:
    """The TLS settings of a `tcp://` engine."""

    ca: Path | None
    """The only CA that is trusted; None means the system's CAs."""
    certificate: Path | None
    key: Path | None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """The address of an engine, and the setting that named it."""

    url: str
    """`unix://PATH`, `tcp://HOST:PORT[/PREFIX]` or `ssh://…`, without a password."""
    tls: EngineTls | None = None
    origin: str = ""
    """`DOCKER_HOST`, `context NAME`, or a remark on the default; empty for an address on the command line,
    and for the default."""

    def __str__(self) -> str:
        text = self.url
        if self.tls is not None and not self.tls.verify:
            text += ", its certificate is not checked"
        return f"{text} ({self.origin})" if self.origin else text


def docker_address(environ: Mapping[str, str] = os.environ) -> EngineAddress:
    """Return the engine that the docker CLI would use now.

    Raises `EndpointError` for a context that is missing or cannot be read, and for an unsupported address:
    another engine is never used instead.
    """
    if environ.get("DOCKER_HOST"):
        return _of_environment(environ)
    folder = config_folder(environ)
    name, origin = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name and folder is not None:
        path = folder / "config.json"
        try:
            name, origin = _current_context(path), f"currentContext in {path}"
        except AccessDeniedError:  # docker uses the default then, too
            return replace(_of_environment(environ), origin=f"{path} belongs to another user")
    if name in ("", _DEFAULT):
        return _of_environment(environ)
    if folder is None:
        raise EndpointError(_NO_CONTEXT, subject=name, got="no home folder", hint="set DOCKER_CONFIG")
    return _of_context(name, origin, folder / "contexts")


def podman_host(
    environ: Mapping[str, str] = os.environ,
    exists: Callable[[str], bool] = os.path.exists,
    uid: int | None = None,
) -> str:
    """Return `CONTAINER_HOST`, as podman itself uses it, otherwise the socket of this user's podman: for root
    the machine's, for others their own, or the machine's if they have none. Raises `EndpointError` if podman
    would use a connection that is only in its own settings.
    """
    if host := environ.get("CONTAINER_HOST"):
        return host
    if name := environ.get("CONTAINER_CONNECTION"):
        raise EndpointError(
            "podman connections are not read",
            subject=f"CONTAINER_CONNECTION={name}",
            hint="set CONTAINER_HOST to its URI, which `podman system connection list` shows",
        )
    uid = os.getuid() if uid is None else uid
    runtime = environ.get("XDG_RUNTIME_DIR")
    own = [f"{folder}/podman/podman.sock" for folder in (runtime, f"/run/user/{uid}") if folder]
    path = next(filter(exists, own), None)
    if path is None and runtime and not exists(_ROOTFUL):
        path = own[0]
    return f"unix://{_ROOTFUL if uid == 0 or path is None else path}"


def parse_address(text: str, subject: str = "") -> str:
    """Return the full form of an engine's address as people write it; `subject` names where it was written.

    Raises `EndpointError` for an address that the docker CLI would refuse or misread.
    """
    text = text.strip()
    scheme, colon, rest = text.partition("://")
    if not text or text == "unix://":
        return f"unix://{DEFAULT_SOCKET}"
    if _CONTROL.search(text):
        raise _refused(text, subject)
    if not colon:
        if text.startswith(("/", "unix:")):
            path = "/" + text.removeprefix("unix:").lstrip("/")
            raise _refused(text, subject, f"did you mean unix://{path}?")
        return _tcp(text, subject)
    if scheme == "unix":
        return text
    if scheme == "tcp":
        return _tcp(rest, subject)
    if scheme == "ssh":
        return _ssh(text, subject)
    raise _refused(text, subject, _OTHER_SCHEMES.get(scheme))


_OTHER_SCHEMES = {
    "http": "write tcp:// instead of http://",
    "https": "write tcp:// instead of https://, and set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
    "npipe": "named pipes exist on Windows only",
    "fd": "fd:// is for dockerd; clients use the socket: unix:///var/run/docker.sock",
}


def _tcp(rest: str, subject: str) -> str:
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "localhost", parts.port or _PORT
    except ValueError:
        raise _refused(f"tcp://{rest}", subject) from None
    if "@" in parts.netloc or has_secret(rest):
        raise _with_login(subject, "an engine on TCP identifies clients by certificate: set DOCKER_CERT_PATH")
    if parts.query or parts.fragment:
        raise _refused(f"tcp://{parts.hostname or ''}:…", subject)
    host = f"[{host}]" if ":" in host else host
    return f"tcp://{host}:{port}{parts.path.rstrip('/')}"


def _ssh(text: str, subject: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _refused(text, subject) from None
    if parts.password is not None or has_secret(text):
        raise _with_login(subject, "SSH logs in with a key, not a password")
    if not parts.hostname:
        raise _refused(text, subject)
    return text.rstrip("/")


def _with_login(subject: str, hint: str) -> EndpointError:
    return EndpointError(
        _NOT_HOST, subject=subject or None, want=_WANT, got="an address with a password", hint=hint
    )


def _refused(text: str, subject: str, hint: str | None = None) -> EndpointError:
    shown = repr(hide(re.sub(r"//[^/]*@", "//…@", text))[:_MAX_SHOWN])
    return EndpointError(_NOT_HOST, subject=subject or None, want=_WANT, got=shown, hint=hint)


def engine_tls(environ: Mapping[str, str] = os.environ) -> EngineTls | None:
    """Read DOCKER_TLS_VERIFY and DOCKER_CERT_PATH; DOCKER_TLS means TLS without checking the certificate.

    DOCKER_CERT_PATH alone does not turn TLS on. Raises `EndpointError` if the CA is missing.
    """
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    folder = Path(environ["DOCKER_CERT_PATH"]) if environ.get("DOCKER_CERT_PATH") else config_folder(environ)
    if folder is None:
        raise EndpointError("no folder with the engine's certificates", want="DOCKER_CERT_PATH")
    tls = _material(folder, verify=verify)
    if verify and tls.ca is None:
        raise EndpointError(
            "the CA of the engine is missing",
            subject=folder / "ca.pem",
            hint="DOCKER_TLS_VERIFY is set: DOCKER_CERT_PATH must name the folder with the PEM files",
        )
    return tls


def _of_environment(environ: Mapping[str, str]) -> EngineAddress:
    """Return the address of the default context."""
    host = environ.get("DOCKER_HOST", "")
    url = parse_address(host, "DOCKER_HOST")
    tls = engine_tls(environ) if url.startswith("tcp://") else None
    return EngineAddress(url, tls, "DOCKER_HOST" if host else "")


def _current_context(path: Path) -> str:
    config = read_json(path, "cannot tell which docker context is in use")
    name = None if config is None else field(config, "currentContext")
    if name is not None and not isinstance(name, str):
        raise EndpointError("cannot tell which docker context is in use", subject=path, want="a name")
    return name or ""


def _of_context(name: str, origin: str, contexts: Path) -> EngineAddress:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    path = contexts / "meta" / digest / "meta.json"
    meta = read_json(path, _NO_CONTEXT)
    if meta is None:
        raise EndpointError(
            "no such docker context",
            subject=f"{name} (named by {origin})",
            hint="docker context ls lists the contexts; DOCKER_CONTEXT=default is the local engine",
        )
    endpoint = _object(_object(meta, "Endpoints", path), "docker", path)
    host = field(endpoint, "Host")
    if host is not None and not isinstance(host, str):
        raise EndpointError(_NO_CONTEXT, subject=path, want="Host")
    url = parse_address(host or "", f"context {name}")
    material = _material(contexts / "tls" / digest / "docker", verify=not field(endpoint, "SkipTLSVerify"))
    has_tls = not material.verify or material.ca is not None or material.certificate is not None
    tls = material if has_tls and url.startswith("tcp://") else None
    return EngineAddress(url, tls, f"context {name}")


def _object(value: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    child = field(value, name)
    if not isinstance(child, dict):
        raise EndpointError(_NO_CONTEXT, subject=path, want=name, got="none")
    return child


def _material(folder: Path, *, verify: bool) -> EngineTls:
    ca, certificate, key = (_existing(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    return EngineTls(ca, certificate if key else None, key if certificate else None, verify)


def _existing(path: Path) -> Path | None:
    return path if os.path.lexists(path) else None
