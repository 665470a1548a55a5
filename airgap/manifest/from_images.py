"""The manifest of images that a person names on the command line."""

import contextlib
from collections.abc import Sequence

from airgap.errors import AirgapError
from airgap.manifest import strict_yaml
from airgap.oci.reference import ImageReference

_HEADER = b"# written by airgap from the images on its command line; edit it and name it instead\n"
_MAX_NAMED = 3
"""Images whose names are in the default name of the stream."""
_MAX_NAME_CHARACTERS = 40


def manifest_of_images(images: Sequence[str], name: str) -> bytes:
    """Return the manifest that lists `images` for the stream `name`. The caller checks both."""
    return _HEADER + strict_yaml.dump_yaml({"version": 1, "name": name, "images": list(images)})


def is_unedited(raw: bytes) -> bool:
    """Return whether `manifest_of_images` wrote these bytes, and nobody has changed them."""
    with contextlib.suppress(AirgapError):
        value = strict_yaml.parse_yaml(raw, "").value
        if isinstance(value, dict) and isinstance(images := value.get("images"), list):
            return manifest_of_images([str(image) for image in images], str(value.get("name"))) == raw
    return False


def stream_of(images: Sequence[ImageReference]) -> str:
    """Return the default name of a stream: `nginx-redis` for `nginx:1.27` and `redis:7`."""
    names = list(dict.fromkeys(_leaf(image) for image in images))
    joined = "-".join(names)
    if len(names) <= _MAX_NAMED and len(joined) <= _MAX_NAME_CHARACTERS:
        return joined
    return f"{names[0][:_MAX_NAME_CHARACTERS].strip('-')}-and-{len(names) - 1}-more"


def _leaf(image: ImageReference) -> str:
    """Return the last part of the repository, with the characters that a stream's name may have."""
    leaf = image.repository.rpartition("/")[2].replace("_", "-").replace(".", "-")
    return "-".join(filter(None, leaf.split("-")))
