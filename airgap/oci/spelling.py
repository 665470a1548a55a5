"""The exact spelling of every key that image documents define.

Go's `encoding/json` ignores the case of keys, with U+017F as `s` and U+212A as `k`; this package, like every
strict reader, does not. A lone `Platform` or `URLS` is therefore invisible here and
effective in Docker, containerd and skopeo. Such a key is refused. Keys that no document defines are accepted
in any case.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md, descriptor.md, config.md, image-layout.md); Docker
Image Manifest V2 Schema 2; Docker Image Specification v1.3 (also for `manifest.json`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from airgap.errors import AmbiguousError

Keys: TypeAlias = Mapping[str, "Keys"]
"""The defined keys of an object, each with the keys of the object, or of the listed objects, in it."""


def _keys(names: str, **inner: Keys) -> Keys:
    return {name: {} for name in names.split()} | inner


_PLATFORM = _keys("architecture os os.version os.features variant features")
_DESCRIPTOR = _keys("mediaType digest size urls annotations data artifactType", platform=_PLATFORM)
DOCUMENT = _keys(
    "schemaVersion mediaType artifactType annotations fsLayers history signatures name tag architecture",
    config=_DESCRIPTOR,
    layers=_DESCRIPTOR,
    manifests=_DESCRIPTOR,
    subject=_DESCRIPTOR,
    blobs=_DESCRIPTOR,
)
"""Image manifests and indexes, schema 1, and the artifact manifest that OCI withdrew."""
_HEALTHCHECK = _keys("Test Interval Timeout StartPeriod StartInterval Retries")
_RUNTIME = _keys(
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce "
    "Env Cmd ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels "
    "StopSignal StopTimeout Shell Memory MemorySwap CpuShares",
    Healthcheck=_HEALTHCHECK,
)
CONFIG = _keys(
    "id parent comment created container docker_version author architecture variant os os.version "
    "os.features Size",
    config=_RUNTIME,
    container_config=_RUNTIME,
    rootfs=_keys("type diff_ids"),
    history=_keys("created created_by author comment empty_layer"),
)
SAVED_IMAGES = _keys("", images=_keys("Config RepoTags Layers Parent LayerSources"))
"""`manifest.json` of `docker save`, its list under the key `images`."""
LAYOUT = _keys("imageLayoutVersion")


def check_spelling(document: Mapping[str, Any], keys: Keys, where: str) -> None:
    """Raise `AmbiguousError` for a key that equals one of `keys` only when case is ignored."""
    folded = {key.casefold(): key for key in keys}
    for key, value in document.items():
        exact = folded.get(key.casefold(), key)
        if exact != key:
            raise AmbiguousError(
                "key differs from a defined one in case only", subject=where, want=repr(exact), got=repr(key)
            )
        if inner := keys.get(key):
            for path, item in _objects(value, key):
                check_spelling(item, inner, f"{where}: {path}")


def _objects(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield `value` if it is an object, or the objects in the list, each with its path."""
    if isinstance(value, dict):
        yield key, value
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _objects(item, f"{key}[{number}]")
