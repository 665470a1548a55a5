"""The differences of podman's Docker-compatible socket."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from airgap.errors import EndpointError

_ROOTFUL = "/run/podman/podman.sock"


def default_host(
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


def is_podman(version: Mapping[str, Any]) -> bool:
    """Return whether the answer to `/version` is podman's."""
    components = version.get("Components")
    if not isinstance(components, list):
        return False
    return any(isinstance(part, dict) and part.get("Name") == "Podman Engine" for part in components)
