"""Finds the socket of this machine's containerd, and a `ctr` to talk to it."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from airgap.errors import UnavailableError, UsageError
from airgap.hiding import LOGIN_HINT, has_secret

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",  # also used by RKE2
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/var/snap/k8s/common/run/containerd/containerd.sock",  # Canonical Kubernetes, strictly confined
)
PROGRAMS = (
    ("ctr",),
    ("/usr/local/bin/ctr",),
    ("/var/lib/rancher/rke2/bin/ctr",),
    ("k3s", "ctr"),
    ("/usr/local/bin/k3s", "ctr"),
    ("k0s", "ctr"),
    ("/usr/local/bin/k0s", "ctr"),
    ("/snap/microk8s/current/bin/ctr",),
    ("/snap/k8s/current/bin/ctr",),
)
"""With full paths where `sudo` does not look: RHEL's `secure_path` does not contain /usr/local/bin."""
ADDRESS = "CONTAINERD_ADDRESS"
"""The environment variable that `ctr` itself reads."""


def find_socket(
    environ: Mapping[str, str] = os.environ,
    is_socket: Callable[[str], bool] = lambda name: Path(name).is_socket(),
) -> str:
    """Return the socket of `CONTAINERD_ADDRESS`, otherwise the only one of the usual sockets that exists.
    Raises `UsageError` if there are several: a machine with Docker and k3s has two, and the wrong one would
    accept the images too.
    """
    if address := environ.get(ADDRESS):
        if has_secret(address):
            raise UsageError(
                "a password or token", subject=ADDRESS, want="the path of a socket", hint=LOGIN_HINT
            )
        return address.removeprefix("unix://")
    found = [name for name in SOCKETS if is_socket(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            "more than one containerd found here", want=f"{ADDRESS}=SOCKET", got=", ".join(found)
        )
    raise UnavailableError(
        "no containerd found here",
        want=" or ".join(SOCKETS),
        hint=f"is it running? set {ADDRESS}=SOCKET if its socket is elsewhere",
    )


def find_program(which: Callable[[str], str | None] = shutil.which) -> tuple[str, ...]:
    """Return the `ctr` of the machine, with its full path; any `ctr` can talk to any containerd."""
    for program, *words in PROGRAMS:
        if path := which(program):
            return (path, *words)
    raise UnavailableError(
        "cannot find ctr, containerd's client",
        want=" or ".join(" ".join(program) for program in PROGRAMS),
        hint="install it (package containerd) or add it to PATH; any version of ctr works",
    )
