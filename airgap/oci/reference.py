"""Names of images, as Docker and containerd read them (distribution/reference, OCI distribution-spec)."""

import re
from dataclasses import dataclass, replace
from typing import Self

from airgap.errors import FormatError
from airgap.limits import MAX_IMAGE_NAME_CHARACTERS
from airgap.oci.digest import Digest

DOCKER_HUB = "docker.io"
PASSING_HOST = "airgap.invalid"
"""The host of airgap's temporary names; no host has the domain `invalid` (RFC 2606)."""
PASSING_NAME = f"{PASSING_HOST} is reserved for temporary names while airgap loads images"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
HOST_PATTERN = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
"""A registry's host, with or without a port; an IPv6 address in brackets."""
_HOST = re.compile(HOST_PATTERN, re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


def normal_host(registry: str) -> str:
    """Return a registry's host in lower case, and its port without leading zeros or, for HTTPS, none."""
    host, colon, port = registry.lower().rpartition(":")
    if not colon or not port.isdigit():
        return registry.lower()
    port = port.lstrip("0")
    return host if port == "443" else f"{host}:{port}"


@dataclass(frozen=True, slots=True, order=True)
class ImageReference:
    """A registry host, a repository in it, and a tag, a digest or both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, where: str = "image reference") -> Self:
        """Read `text` as Docker does: `nginx` is `docker.io/library/nginx:latest`.

        Raises `FormatError`. `latest` is only the default if there is no digest.
        """

        def refuse(why: str) -> FormatError:
            return FormatError(f"not an image reference ({why})", subject=where, got=repr(text))

        if not isinstance(text, str) or not text:
            raise refuse("empty")
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text, f"{where}: digest of {text}") if at else None
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            name, tag = rest, ""
        elif not _TAG.fullmatch(tag):
            raise refuse("tag")
        host, slash, path = name.partition("/")
        if slash and ("." in host or ":" in host or host == "localhost" or host != host.lower()):
            registry, repository = host, path
        else:
            registry, repository = DOCKER_HUB, name
        if registry == "index.docker.io":
            registry = DOCKER_HUB
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not _HOST.fullmatch(registry):
            raise refuse("registry host")
        if not _REPOSITORY.fullmatch(repository):
            lower = repository != repository.lower()
            raise refuse("repository names are lower-case" if lower else "repository name")
        if len(registry) + len(repository) + 1 > MAX_IMAGE_NAME_CHARACTERS:
            raise refuse(f"name longer than {MAX_IMAGE_NAME_CHARACTERS}")
        return cls(registry, repository, tag or (None if digest else "latest"), digest)

    def names_of(self, digest: Digest) -> "tuple[ImageReference, ...]":
        """Return the names that node runtimes look up for an image with this digest.

        A reference with a tag and that digest has two names, one with each, because Kubernetes asks for
        `repo@sha256:…` if a pod names both.
        """
        if self.tag is None or self.digest is None:
            return (self,)
        tagged = replace(self, digest=None)
        return (tagged, replace(self, tag=None)) if self.digest == digest else (tagged,)

    @property
    def kept(self) -> Self:
        """The name as engines, registries and layouts store it: with a digest only if there is no tag."""
        return replace(self, digest=None) if self.tag and self.digest else self

    @property
    def normal(self) -> Self:
        """The form in which names are compared: names of one image on one host have the same normal form,
        with any case and port notation of the host, and with or without a digest beside the tag (FORMAT.md
        §2.1).
        """
        registry = normal_host(self.registry)
        return self.kept if registry == self.registry else replace(self.kept, registry=registry)

    @property
    def is_passing(self) -> bool:
        """Return whether it is one of the temporary names that airgap gives to images while it loads them."""
        return self.normal.registry.partition(":")[0] == PASSING_HOST

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The short form that Docker shows: `nginx:1.27`."""
        text = str(self).removeprefix(f"{DOCKER_HUB}/")
        return text.removeprefix("library/")

    def with_digest(self, digest: Digest | None) -> Self:
        """Return the same name with `digest`; the tag stays."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def is_tag(text: str) -> bool:
    """Return whether `text` can be a tag (OCI distribution-spec, "Pulling manifests")."""
    return _TAG.fullmatch(text) is not None


def reference_in(text: str) -> ImageReference | None:
    """Return the name of an image as a target lists it; None if no bundle can have such a name."""
    try:
        return ImageReference.parse(text)
    except FormatError:
        return None
