"""What must hold of targets after every fault, as their own files say it."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from airgap.oci.digest import Digest
from tests.faults.world import World
from tests.support.registry import FakeRegistry

Content = Callable[[str], bytes | None]
"""Content by digest at a target; None where there is none."""


def graph_faults(content: Content, digest: str, size: int | None = None) -> Iterator[str]:
    """What is missing or wrong under a descriptor: content must be there down to the last layer."""
    raw = content(digest)
    if raw is None:
        yield f"{digest} is missing"
        return
    if hashlib.sha256(raw).hexdigest() != digest.partition(":")[2] or size not in (None, len(raw)):
        yield f"{digest} has other bytes"
        return
    document: dict[str, Any] = {}
    if raw[:1] == b"{":
        document = json.loads(raw)
    if "schemaVersion" in document:
        below = [*document.get("manifests", ()), *document.get("layers", ())]
        below += [document["config"]] if "config" in document else []
        for each in below:
            yield from graph_faults(content, each["digest"], each["size"])


@dataclass
class TargetNames:
    """What a target says: digests by name, and how to get content."""

    digests: dict[str, str]
    content: Content


def layout_names(folder: Path) -> TargetNames:
    """Of an OCI layout."""
    index = json.loads((folder / "index.json").read_bytes())
    names = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in index["manifests"]
    }

    def content(digest: str) -> bytes | None:
        path = folder / "blobs" / digest.replace(":", "/")
        return path.read_bytes() if path.is_file() else None

    return TargetNames(names, content)


def archive_names(path: Path) -> TargetNames:
    """Of one archive in an images folder."""
    with tarfile.open(path) as tar:
        files = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]
    index = json.loads(files["index.json"])
    names = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in index["manifests"]
    }
    return TargetNames(names, lambda digest: files.get("blobs/" + digest.replace(":", "/")))


def registry_names(registry: FakeRegistry) -> list[TargetNames]:
    """Of each repository of a registry."""
    found: dict[str, TargetNames] = {}
    for (repository, tag), (_, raw) in registry.manifests.items():
        if ":" not in tag:
            names = found.setdefault(
                repository, TargetNames({}, partial(_registry_content, registry, repository))
            )
            names.digests[f"registry.test/{repository}:{tag}"] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    return list(found.values())


def _registry_content(registry: FakeRegistry, repository: str, digest: str) -> bytes | None:
    if (repository, digest) in registry.manifests:
        return registry.manifests[repository, digest][1]
    return registry.blobs.get((repository, Digest.parse(digest)))


def target_names(world: World) -> list[TargetNames]:
    """Of whatever the story's target is. What cannot be read raises `ValueError`, `OSError` or `KeyError`."""
    found = []
    if (world.target / "index.json").exists():
        found.append(layout_names(world.target))
    if world.registry is not None:
        found += registry_names(world.registry)
    archives = [*world.target.glob("*.tar"), *world.folder.glob("*.tar")]
    return found + [archive_names(path) for path in archives]


def name_faults(found: list[TargetNames], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """No name points to content that was not verified; what was there stays, or means the new."""
    seen: dict[str, str] = {}
    for names in found:
        seen |= names.digests
        for name, digest in names.digests.items():
            if digest not in {old.get(name), new.get(name)}:
                yield f"{name} means {digest}, which nobody signed"
            yield from (f"{name}: {text}" for text in graph_faults(names.content, digest))
    for name, digest in old.items():
        if name not in seen or (name not in new and seen[name] != digest):
            yield f"the old name {name} is lost: {seen.get(name)}"


def target_faults(world: World, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    try:
        found = target_names(world)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        yield f"the target cannot be read: {error!r}"
        return
    yield from name_faults(found, old, new)
