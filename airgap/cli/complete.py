"""Suggestions for shell completion. Each is cheap: no network, no engine, and no lock is used.

Where nothing is suggested, the shell completes file names.
"""

from collections.abc import Iterator

TARGETS = {
    "docker": "the Docker engine",
    "podman": "the podman engine",
    "containerd": "containerd; containerd:NAMESPACE",
    "k3s": "the images folder of k3s",
    "rke2": "the images folder of RKE2",
    "k0s": "the images folder of k0s",
    "registry:": "registry:HOST[:PORT][/PREFIX]",
    "oci:": "an OCI image layout: oci:DIR",
    "archive:": "an archive for docker load: archive:FILE",
}


def targets(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the kinds of targets, with their descriptions."""
    return ((name, text) for name, text in TARGETS.items() if name.startswith(incomplete))


def media(incomplete: str) -> list[str]:
    """Return the mounted media below the usual folders."""
    from airgap.bundle.mounts import media_folders

    return [str(folder) for folder in media_folders() if str(folder).startswith(incomplete)]


def key_owners(incomplete: str) -> list[str]:
    """Return the owners of the signing keys of this site."""
    from airgap.site import default_home

    try:
        files = list((default_home() / "keys").glob("*.pub"))
    except OSError:
        return []
    return sorted(file.stem for file in files if file.stem.startswith(incomplete))


def senders(incomplete: str) -> list[str]:
    """Return the names of the senders of this site."""
    from airgap.sender_state import DEFAULT_SENDER, SENDER_FILE, SENDERS
    from airgap.site import default_home

    try:
        files = list((default_home() / SENDERS).glob(f"*/{SENDER_FILE}"))
    except OSError:
        return []
    names = sorted([DEFAULT_SENDER, *(file.parent.name for file in files)])
    return [name for name in names if name.startswith(incomplete)]
