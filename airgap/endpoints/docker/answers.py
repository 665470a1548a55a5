"""Reads the documents of a Docker engine. A document in an unexpected form is an `EndpointError`: the engine
is not trusted.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airgap.endpoints.engine_info import EngineInfo
from airgap.errors import EndpointError, FormatError
from airgap.limits import MAX_ENGINE_NAME_CHARACTERS, MAX_ENGINE_VERSION_CHARACTERS
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor, chain_ids
from airgap.oci.platform import Platform
from airgap.oci.strict_json import Fields

_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]
_ZSTD_API = (1, 42)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FormatError as error:
        raise EndpointError("unreadable answer", got=error) from error


@_readable()
def engine_info(version: Any, info: Any, api: tuple[int, int]) -> EngineInfo:
    """Read the answers to `/version` and `/info`."""
    about, more = Fields(version, "version"), Fields(info, "info")
    arm = (more.optional_text("Architecture") or "").startswith("armv6")
    platform = f"{about.text('Os')}/{about.text('Arch')}{'/v6' if arm else ''}"
    podman = is_podman(version)
    keeps_index = podman or _CONTAINERD_STORE in _items(more, "DriverStatus")
    return EngineInfo(
        platform=Platform.parse(platform),
        keeps_index=keeps_index,
        zstd_layers=keeps_index or api >= _ZSTD_API,
        version=(about.optional_text("Version") or "")[:MAX_ENGINE_VERSION_CHARACTERS],
        config_ids=podman,
        one_platform=podman,
        product="podman" if podman else "Docker",
        host=(more.optional_text("Name") or "")[:MAX_ENGINE_NAME_CHARACTERS],
    )


@_readable()
def listed_images(images: Any) -> list[Fields]:
    """Read the answer to `/images/json`."""
    return Fields({"images": images}, "list").children("images")


@_readable()
def inspected_image(image: Any) -> Fields:
    """Read the answer to `/images/NAME/json`."""
    return Fields(image, "image")


@_readable()
def id_of(image: Fields) -> Digest:
    """Return the ID of a listed or inspected image."""
    return Digest.parse(image.text("Id"), "image ID")


@_readable()
def answers_to(image: Fields, digest: Digest) -> bool:
    """Return whether `digest` is the ID of a listed image, or that of its image manifest or index."""
    names = [str(name) for name in _items(image, "RepoDigests")]
    return image.take("Id") == str(digest) or any(name.endswith(f"@{digest}") for name in names)


@_readable()
def names_in(image: Fields) -> list[str]:
    """Return the names of a listed image."""
    names = [str(name) for name in _items(image, "RepoTags")]
    return [name for name in names if name != "<none>:<none>"]


@_readable()
def layer_chain(image: Fields) -> list[Digest]:
    """Return the chain IDs of the layers of an inspected image."""
    if image.take("RootFS") is None:
        return []
    layers = _items(image.child("RootFS"), "Layers")
    return chain_ids([Digest.parse(text, "RootFS") for text in layers])


@_readable()
def is_complete(image: Fields) -> bool:
    """Return whether the image is complete by the engine's list of manifests; engines before API 1.48 have
    none, and show an image with missing content without an architecture.
    """
    if image.take("Manifests") is None:
        return bool(image.take("Architecture"))
    images = [item for item in image.children("Manifests") if item.take("Kind") == "image"]
    begun = [item for item in images if item.take("Available") or _has_content(item)]
    return bool(begun) and all(item.take("Available") for item in begun)


@_readable()
def held_manifests(image: Fields) -> list[tuple[Descriptor, bool]] | None:
    """Return the image manifests of an image's index, and whether the content of each is present; None if the
    engine does not list them or the image is not an index.
    """
    if image.take("Manifests") is None or image.take("Descriptor") is None:
        return None
    if image.child("Descriptor").text("mediaType") not in INDEX_TYPES:
        return None
    images = [item for item in image.children("Manifests") if item.take("Kind") == "image"]
    where = "Manifests"
    return [(Descriptor.parse(i.take("Descriptor"), where), i.take("Available") is True) for i in images]


def _has_content(manifest: Fields) -> bool:
    return manifest.take("Size") is not None and bool(manifest.child("Size").take("Content"))


def _items(fields: Fields, key: str) -> list[Any]:
    """Return a list that Go writes as null if it is empty."""
    return [] if fields.take(key) is None else fields.items(key)


def is_podman(version: Mapping[str, Any]) -> bool:
    """Return whether the answer to `/version` is podman's."""
    components = version.get("Components")
    if not isinstance(components, list):
        return False
    return any(isinstance(part, dict) and part.get("Name") == "Podman Engine" for part in components)
