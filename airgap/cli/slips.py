"""Suggestions for targets and registries that are written as another tool writes them."""

import difflib
import re

KINDS = ("docker", "podman", "containerd", "k3s", "rke2", "k0s", "registry", "oci", "archive")

_HOST = r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])"
_REGISTRY = re.compile(
    rf"{_HOST}:[0-9]{{1,5}}(?:/.*)?|(?:localhost|{_HOST}\.[A-Za-z]{{2,}})(?:/.*)?", re.ASCII
)

_ALIASES = {
    "docker-archive": "archive",
    "oci-archive": "archive",
    "tar": "archive",
    "file": "archive",
    "dir": "oci",
    "layout": "oci",
    "oci-layout": "oci",
    "http": "registry",
    "https": "registry",
    "docker-daemon": "docker",
    "moby": "docker",
    "containers-storage": "podman",
    "cri-o": "podman",
    "crio": "podman",
    "nerdctl": "containerd",
    "ctr": "containerd",
    "k8s": "containerd",
    "kubernetes": "containerd",
    "kubelet": "containerd",
}
"""Words of skopeo, crane, docker buildx and others, and common mistakes."""

_ENGINES = ("docker", "podman")


def meant_target(text: str) -> str | None:
    """Return the target that `text` probably means; None if it may be correct, or could mean anything."""
    kind, colon, rest = text.partition(":")
    if kind in _ENGINES:
        return _engine(kind, rest) if colon else None
    if kind == "containerd" and colon:
        return _containerd(rest)
    if kind == "registry":
        return f"registry:{_host(rest)}" if rest.startswith(("//", "http:", "https:")) else None
    if kind in KINDS:
        return f"{kind}:{rest[2:]}" if rest.startswith("//") else None
    if kind in ("unix", "tcp", "ssh") and rest.startswith("//"):
        return f"docker:{text}"
    return _other(kind, rest, text)


def _engine(kind: str, rest: str) -> str | None:
    if rest.startswith(("unix://", "tcp://", "ssh://")):
        return None
    if rest.startswith("//") and _REGISTRY.fullmatch(_host(rest)):
        return f"registry:{_host(rest)}"  # skopeo's docker://HOST/NAME:TAG
    return f"{kind}:unix://{rest}" if re.match("/[^/]", rest) else kind


def _containerd(rest: str) -> str | None:
    """Return containerd with a namespace; the socket goes into a variable."""
    name = re.sub("^unix:|^//(?=[^/]+$)", "", rest)
    if "/" in name:
        return f"containerd, with CONTAINERD_ADDRESS={re.sub('/+', '/', name)}"
    return None if rest == name != "" else f"containerd:{name}".rstrip(":")


def _host(rest: str) -> str:
    """Return the host and the prefix of image names in `//HOST/NAME:TAG` or `http://HOST/`."""
    host, slash, path = re.sub("^(https?:)?/*", "", rest).rstrip("/").partition("/")
    return host + slash + re.sub("[:@][^/]*$", "", path)


def _other(kind: str, rest: str, text: str) -> str | None:
    """Suggest a target for a registry, file or folder without a kind, or for a misspelt kind."""
    known = _ALIASES.get(kind.lower()) or _near(kind.lower())
    if known is None:
        if text.endswith((".tar", ".tar.gz", ".tgz")):
            return f"archive:{text}"
        if _REGISTRY.fullmatch(text.rstrip("/")):
            return f"registry:{_host(text)}"
        return f"oci:{text}" if text.startswith(("/", "./", "../")) else None
    if known == "registry":
        return f"registry:{_host(rest)}" if _host(rest) else None
    if known in ("oci", "archive"):
        return f"{known}:{rest.removeprefix('//').partition(':')[0] or 'PATH'}"
    return f"{known}:{rest}" if rest and kind.lower() not in _ALIASES else known


def _near(kind: str) -> str | None:
    return next(iter(difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.7)), None)


def meant_host(text: str) -> str | None:
    """Return the host if `text` is a URL: `--plain-http` and `--mirror` need a host."""
    match = re.fullmatch(r"(?:[a-z]+:)?//([^/]+)/?(?:v2/?)?", text)
    return match[1] if match else None
