"""podman behind its Docker-compatible socket: what is different there."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ROOTFUL = "/run/podman/podman.sock"


def default_host(
    environ: Mapping[str, str] = os.environ,
    exists: Callable[[str], bool] = os.path.exists,
    uid: int | None = None,
) -> str:
    """`CONTAINER_HOST`, as podman itself takes it, else the socket of this user's podman: for root that of
    the machine, for others their own, or that of the machine when they have none.
    """
    if host := environ.get("CONTAINER_HOST"):
        return host
    runtime = environ.get("XDG_RUNTIME_DIR")
    own = str(Path(runtime, "podman/podman.sock")) if runtime else ""
    if (os.getuid() if uid is None else uid) != 0 and own and (exists(own) or not exists(_ROOTFUL)):
        return f"unix://{own}"
    return f"unix://{_ROOTFUL}"


def is_podman(version: Mapping[str, Any]) -> bool:
    """From the answer to `/version`."""
    components = version.get("Components")
    if not isinstance(components, list):
        return False
    return any(isinstance(part, dict) and part.get("Name") == "Podman Engine" for part in components)
