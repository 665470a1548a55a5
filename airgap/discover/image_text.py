"""Decides which texts in deployment files are names of images.

A field that a specification defines as an image is read with `ImageReference.parse`. Everywhere else
(arguments, environment variables, ConfigMaps, fields of custom resources) only the shape of a text, and the
name of its field, say that it is an image: here are the rules for that.
"""

import re
from collections.abc import Iterator

from airgap.oci.reference import ImageReference, reference_in

_TEMPLATE = re.compile(
    r"\{\{|\}\}"  # Go templates, Argo, Jinja
    r"|\$[({A-Za-z_]"  # shells, envsubst, Kubernetes, OpenShift
    r"|\[\[|\]\]|<[^<>]*>|###|@@|%[A-Za-z_]+%|%%"
    r"|^ko://"  # names of Go programs, which ko builds
)
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NAMING_WORDS = {"image", "images"}
_NOT_NAMES = {
    "policy", "secret", "secrets", "tag", "tags", "version", "versions", "registry", "registries", "prefix",
    "suffix", "namespace", "digest", "digests", "sha", "id", "path", "type", "format", "size", "count",
    "timeout", "interval", "pull", "threshold", "percent", "service", "user", "username", "password",
    "credentials", "repo", "repository", "hub", "key", "keys", "dir", "directory", "file", "enabled", "age",
    "period", "kind", "group", "mode", "url", "selector", "os", "family", "project", "catalog", "stream",
    "hash", "platform", "arch", "cache", "config",
}  # fmt: skip
"""Last words of a key that is about an image, but is not its name: `imagePullPolicy`, `IMAGE_VERSION`."""
_VERSION = re.compile(
    r"[a-z_-]*v?\d[\w.-]*|latest|stable|edge|nightly|main|master|dev(?:el)?|canary|master-head|.*\d.*"
)
_NOT_TAGS = {"NoSchedule", "NoExecute", "PreferNoSchedule", "Exists", "true", "false", "True", "False"}
"""The end of a taint or a label, which looks like a tag: `node.kubernetes.io/not-ready:NoExecute`."""
_NOT_HOSTS = (".svc", ".cluster.local", ".kubernetes.io", ".k8s.io.local")
_FILE = re.compile(
    r"\.(?:tar|tgz|gz|zip|ya?ml|json|txt|png|jpe?g|svg|gif|ico|iso|img|qcow2|sh|py|so|conf|cfg|crt|pem|key|html?|md|sock|git)$"
)
_TOKEN = re.compile(r"[^\s\[\]\"'`,;|&()<>]+")
_OPTION_PREFIX = re.compile(r"[^=/:@]+=")


def is_template(text: str) -> bool:
    """Return whether another program replaces parts of `text` before it is used."""
    return bool(_TEMPLATE.search(text)) or bool(_PLACEHOLDER.fullmatch(text))


def names_image(key: str) -> bool:
    """Return whether the key of a value says that the value is the name of an image (`docker_image`)."""
    words = [word.lower() for word in _WORD.findall(key)]
    return bool(words) and bool(_NAMING_WORDS & set(words)) and words[-1] not in _NOT_NAMES


def plausible_reference(text: str) -> ImageReference | None:
    """Return the image that `text` names, if it is in a field for images; None for other text."""
    if _FILE.search(text) or text in {"true", "false"} or text.isdigit():
        return None
    return reference_in(text)


def unmistakable_reference(text: str) -> ImageReference | None:
    """Return the image that `text` names, if it cannot be much else: a registry's host, a path, a tag or
    digest.
    """
    host, slash, _ = text.partition("/")
    if not slash or not ("." in host or ":" in host) or _FILE.search(text):
        return None
    reference = reference_in(text)
    if reference is None or host.startswith("localhost") or host.partition(":")[0].endswith(_NOT_HOSTS):
        return None
    if reference.digest is not None:
        return reference
    tag = text.rpartition(":")[2]
    is_tag = "/" not in tag and tag not in _NOT_TAGS and _VERSION.fullmatch(tag)
    return reference if is_tag else None


def tokens(text: str) -> Iterator[str]:
    """Yield the words of a text that can hold images: lines of `VERSION=REF`, commands, lists with commas."""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for match in _TOKEN.finditer(line):
            word = match[0]
            yield word
            if prefix := _OPTION_PREFIX.match(word):
                yield word[prefix.end() :]
