"""Puts together names of images whose parts are values of their own: registry, repository, tag and digest.

Values of Helm charts and many custom resources have them: `{registry: quay.io, repository: a/b, tag: v1}`. A
name that was put together is never certain, because only the program that reads the values knows how it does
it.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from airgap.discover.image_text import is_template, names_image, plausible_reference, unmistakable_reference
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence
from airgap.values import dataclass

_REGISTRY_KEYS = ("registry", "imageRegistry", "image_registry", "hub")
_NAME_KEYS = ("repository", "repo", "image", "imageName")
_TAG_KEYS = ("tag", "imageTag", "image_tag", "version", "image_version", "imageVersion", "newTag")
_DIGEST_KEYS = ("digest", "imageDigest", "sha", "sha256")
_EVIDENCE = (*_REGISTRY_KEYS, *_TAG_KEYS, *_DIGEST_KEYS, "pullPolicy", "imagePullPolicy", "useDigest")
"""Keys beside a name which show that the mapping is about an image."""
_TAG_TEXT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST_TEXT = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_VARIANT = re.compile(r"digest([A-Z]\w*)|([a-z]+)Digest")
_GENERIC = "generic"
_FOREIGN = {
    "kubectl",
    "busybox",
    "alpine",
    "nginx",
    "redis",
    "postgres",
    "postgresql",
    "mysql",
    "memcached",
    "curl",
}
_SKIPPED = {"annotations", "labels", "podAnnotations", "podLabels", "description", "status"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDefaults:
    """What fills the parts that a group does not have."""

    registry: str = ""
    namespace: str = ""
    tag: str = ""
    """The tag of an image without one: of a chart, its appVersion."""


NO_DEFAULTS = GroupDefaults()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """An image that the values in one mapping name."""

    name: str
    at: Scalar
    """The value with the name or the repository, whose line is shown."""
    path: tuple[str, ...]
    """The keys down to the mapping."""
    disabled_by: str = ""
    """The value that turns it off, such as `metrics.enabled`; empty if there is none."""
    is_whole: bool = False
    """Whether one value holds the whole name."""
    is_clear: bool = True
    """Whether the name has a tag or digest, so that it cannot be a part of a name only."""


def find_groups(
    node: Node, defaults: GroupDefaults = NO_DEFAULTS, path: tuple[str, ...] = (), disabled_by: str = ""
) -> Iterator[ImageGroup]:
    """Yield the images that the values below `node` name, in the order of the file."""
    if isinstance(node, Sequence):
        for item in node.items:
            yield from find_groups(item, defaults, path, disabled_by)
    if not isinstance(node, Mapping):
        return
    if node.text("enabled").lower() in {"false", "no", "off"}:
        disabled_by = disabled_by or ".".join((*path, "enabled"))
    group = _group(node, defaults, path, disabled_by)
    if group:
        yield from _variants(node, group)
    for key, child in node.pairs.items():
        if key in _SKIPPED or (group and child is group.at):
            continue
        if isinstance(child, Scalar):
            yield from _whole_name(node, key, child, path, disabled_by)
        else:
            yield from find_groups(child, defaults, (*path, key), disabled_by)


def _group(
    node: Mapping, defaults: GroupDefaults, path: tuple[str, ...], disabled_by: str
) -> ImageGroup | None:
    """Return the image whose parts are the values of `node`; None if they are not parts of a name."""
    name = _name(node, path, defaults)
    is_image = any(key in node.pairs for key in _EVIDENCE) or bool(path and names_image(path[-1]))
    if name is None or not is_image or is_template(name.text):
        return None
    text = join_name(node, name.text, defaults)
    reference = plausible_reference(text)
    if reference is None:
        return None
    is_clear = bool(reference.digest) or ":" in text.rpartition("/")[2]
    return ImageGroup(name=text, at=name, path=path, disabled_by=disabled_by, is_clear=is_clear)


def _variants(node: Mapping, group: ImageGroup) -> Iterator[ImageGroup]:
    """Yield the image of the group, and those with digests of their own.

    `digestChroot` is the digest of `NAME-chroot`, and `awsDigest` of `NAME-aws`. Where there is a variant
    `generic`, that is what runs, and not the image without a variant.
    """
    digests = {variant: node.text(key) for key in node.pairs if (variant := _variant(key))}
    if _GENERIC not in digests:
        yield group
    base, colon, tag = group.name.partition("@")[0].rpartition(":")
    for variant, digest in digests.items() if colon and "/" not in tag else ():
        is_digest = bool(_DIGEST_TEXT.fullmatch(digest))
        if is_digest or variant == _GENERIC:
            suffix = f"@sha256:{digest.removeprefix('sha256:')}" if is_digest else ""
            disabled_by = group.disabled_by if variant == _GENERIC else ".".join((*group.path, variant))
            yield replace(group, name=f"{base}-{variant}:{tag}{suffix}", disabled_by=disabled_by)


def _variant(key: str) -> str:
    """Return the variant whose digest the value of `key` is; empty if it is not one."""
    match = _VARIANT.fullmatch(key)
    return (match[1] or match[2]).lower() if match and key not in _DIGEST_KEYS else ""


def _name(node: Mapping, path: tuple[str, ...], defaults: GroupDefaults) -> Scalar | None:
    for key in _NAME_KEYS:
        found = node.scalar(key)
        if found and found.text:
            return found
    is_named = bool(defaults.registry or "tag" in node.pairs) and bool(path) and names_image(path[-1])
    return node.scalar("name") if is_named else None


def join_name(node: Mapping, name: str, defaults: GroupDefaults) -> str:
    """Return the full name from the parts in `node`, of which `name` is the repository."""
    image = node.text("image")
    if node.text("repository") == name and image and "/" not in image and image != name:
        name = f"{name}/{image}"
    return f"{_with_registry(node, name, defaults)}{_suffix(node, name, defaults)}"


def _with_registry(node: Mapping, name: str, defaults: GroupDefaults) -> str:
    first = name.partition("/")[0]
    if "/" in name and ("." in first or ":" in first):
        return name
    registry = _first(node, _REGISTRY_KEYS) or defaults.registry
    if not node.text("repository") and node.text("name") == name and defaults.namespace:
        name = f"{defaults.namespace}/{name}"
    return f"{registry.rstrip('/')}/{name}" if registry and not is_template(registry) else name


def _suffix(node: Mapping, name: str, defaults: GroupDefaults) -> str:
    if "@" in name or ":" in name.rpartition("/")[2]:
        return ""
    tag = _first(node, _TAG_KEYS) or ("" if _is_foreign(name) else defaults.tag)
    digest = _first(node, _DIGEST_KEYS)
    if node.text("useDigest").lower() == "false" or not _DIGEST_TEXT.fullmatch(digest):
        digest = ""
    if digest and not digest.startswith("sha256:"):
        digest = f"sha256:{digest}"
    if not _TAG_TEXT.fullmatch(tag):
        tag = ""
    return (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def _is_foreign(name: str) -> bool:
    """Return whether the image is one that many charts use, and that has its own versions."""
    return name.rpartition("/")[2] in _FOREIGN


def _first(node: Mapping, keys: tuple[str, ...]) -> str:
    return next((node.text(key) for key in keys if node.text(key)), "")


def _whole_name(
    node: Mapping, key: str, value: Scalar, path: tuple[str, ...], disabled_by: str
) -> Iterator[ImageGroup]:
    """Yield the image that `value` is the whole name of, with a tag in a key of its own (`fooTag` beside
    `foo`).
    """
    text = value.text
    if is_template(text) or not text:
        return
    if names_image(key):
        tag = next(
            (node.text(f"{key}{end}") for end in ("Tag", "_tag", "Version") if node.text(f"{key}{end}")), ""
        )
        has_tag = ":" in text.rpartition("/")[2] or "@" in text
        name = f"{text}:{tag}" if tag and not has_tag else text
        if plausible_reference(name) and ("/" in name or has_tag or tag or key == "image"):
            is_clear = has_tag or bool(tag)
            yield ImageGroup(
                name=name,
                at=value,
                path=(*path, key),
                disabled_by=disabled_by,
                is_whole=not tag,
                is_clear=is_clear,
            )
    elif unmistakable_reference(text):
        yield ImageGroup(
            name=text, at=value, path=(*path, key), disabled_by=disabled_by, is_whole=True, is_clear=False
        )
