"""Reads the user's manifest and its lock from YAML into `TransferManifest` and `Lock`.

    strict_yaml   bytes to text, lists and mappings with their positions
    yaml_nodes    the same for files of other tools; only these two import yaml
    validate      checks those against a pydantic model; errors use the user's terms
    platform_text platforms as people write them
    fields        the kinds of text: references, digests, platforms, names
    model         the manifest's keys, and its JSON Schema
    transfer      `TransferManifest`, `ImageEntry`
    lock          `Lock`, `LockedImage`, `LeftOut`
    file_model, file_entries, locked_files   the same for `files`
    chart_versions, chart_entries   the same for `charts`

`python -m airgap.manifest > manifests/manifest.schema.json` writes the schema again.
"""

from airgap.manifest.fields import AttachmentChoice
from airgap.manifest.lock import LeftOut, Lock, LockedImage, lock_path
from airgap.manifest.locked_files import LockedFile
from airgap.manifest.model import json_schema
from airgap.manifest.transfer import (
    BroughtByChart,
    ImageEntry,
    TransferManifest,
    offline_name,
    parse_transfer,
)

__all__ = [
    "AttachmentChoice",
    "BroughtByChart",
    "ImageEntry",
    "LeftOut",
    "Lock",
    "LockedFile",
    "LockedImage",
    "TransferManifest",
    "json_schema",
    "lock_path",
    "offline_name",
    "parse_transfer",
]
