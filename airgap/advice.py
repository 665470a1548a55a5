"""The errors for a path of another kind than a command needs, with the command that would accept it."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from airgap.errors import AirgapError, FormatError, UsageError
from airgap.recognise import Found, Kind, recognise


@dataclass(frozen=True, slots=True)
class Need:
    """The kind of path that a command needs: its name in messages, and the kinds that are accepted.

    A path that is not recognised is accepted too: the command itself reports what is wrong with it.
    """

    words: str
    kinds: frozenset[Kind]
    error: type[AirgapError] = UsageError
    """`UsageError` for a path on the command line, `FormatError` for a path in a document."""


_BUNDLES = {Kind.BUNDLE, Kind.BUNDLE_TAR, Kind.UNFINISHED, Kind.VOLUME}
_UNRECOGNISED = {Kind.UNKNOWN, Kind.EMPTY, Kind.SPECIAL}
"""Accepted here, and refused by the code that opens them, which knows better what is wrong."""

BUNDLE = Need("a bundle", frozenset({*_BUNDLES, *_UNRECOGNISED}))
SERVED = Need("a bundle or an OCI image layout", frozenset({*_BUNDLES, *_UNRECOGNISED, Kind.LAYOUT}))
KIT = Need("a kit", frozenset({Kind.KIT, *_UNRECOGNISED}))
BASE = Need("a receipt or a bundle", frozenset({*_BUNDLES, *_UNRECOGNISED, Kind.RECEIPT, Kind.PART}))
BACKUP = Need("a backup", frozenset(_UNRECOGNISED))
COMPARED = Need(
    "a manifest, a lock or a bundle",
    frozenset({Kind.MANIFEST, Kind.LOCK, Kind.BUNDLE, Kind.BUNDLE_TAR, Kind.VOLUME, *_UNRECOGNISED}),
)
RECEIPT = Need("a receipt", frozenset({Kind.RECEIPT, *_UNRECOGNISED}))
ROOT = Need("a trust root", frozenset({Kind.ROOT, *_UNRECOGNISED}))
MANIFEST = Need("a manifest", frozenset({Kind.MANIFEST, *_UNRECOGNISED, Kind.ABSENT}))
INVENTORY = Need("an inventory of hosts", frozenset({Kind.INVENTORY, *_UNRECOGNISED, Kind.ABSENT}))
_IMAGES = {
    Kind.DOCKER_ARCHIVE,
    Kind.OCI_ARCHIVE,
    Kind.BUNDLE_TAR,
    Kind.UNFINISHED,
    Kind.PACKED,
    Kind.PACKED_TAR,
    Kind.TAR,
}
ARCHIVE = Need("an archive of images", frozenset({*_IMAGES, *_UNRECOGNISED, Kind.ABSENT}), FormatError)
LAYOUT = Need(
    "an OCI image layout",
    frozenset({Kind.LAYOUT, *_BUNDLES, *_UNRECOGNISED, Kind.DIR_IMAGE, Kind.ABSENT}),
    FormatError,
)
"""What manifests name. Their readers report files that are missing or damaged, as for a manifest itself."""


def refuse_other(path: Path, need: Need) -> None:
    """Raise `need.error`, with the right command as hint, if `path` does not exist or is known to be of
    another kind than is needed.
    """
    found = recognise(path)
    if found.kind in need.kinds:
        return
    hint = _hint(found, path)
    if found.kind in (Kind.ABSENT, Kind.IMAGE_NAME, Kind.ADDRESS):
        got = None if found == Found(Kind.ABSENT) else found.words
        raise need.error("no such file or folder", subject=path, got=got, hint=hint)
    raise need.error(f"not {need.words}", subject=path, got=found.words, hint=hint)


def _hint(found: Found, path: Path) -> str | None:
    """Return the command that accepts this path, ready to be copied."""
    quoted = shlex.quote(str(path))
    inside = " ".join(shlex.quote(str(folder)) for folder in found.inside)
    manifest = shlex.quote(str(path).replace(".lock.", "."))
    text = _HINTS.get(found.kind)
    return text and text.format(path=quoted, inside=inside, folder=path.parent, manifest=manifest)


_PACK = "`airgap pack MANIFEST --to DIR`"
_LIST = "list its images in a manifest: `version: 1`, `name: NAME`, `images:` and a line `- IMAGE` for each"

_HINTS = {
    Kind.ABSENT: "check the spelling, and that the medium is plugged in and mounted",
    Kind.IMAGE_NAME: f"list the image in a manifest, as `- {{path}}` below `images:`; then {_PACK}",
    Kind.ADDRESS: f"a file or a folder is needed; images are pulled by {_PACK}",
    Kind.EMPTY_FOLDER: "is the medium mounted there?",
    Kind.BUNDLE: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    Kind.BUNDLE_TAR: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    Kind.UNFINISHED: "run the same `airgap pack` again to finish it",
    Kind.VOLUME: "`airgap inspect {path}` shows which bundle it belongs to",
    Kind.VOLUMES: "name the volumes together: {inside}",
    Kind.MEDIUM: "name the bundle itself: {inside}",
    Kind.PART: "name the folder that holds it: {folder}",
    Kind.KIT: "`airgap kit verify {path} --into DIR` checks the kit and copies the files to install",
    Kind.SITE: "set AIRGAP_HOME={path} to use this site",
    Kind.LAYOUT: "`airgap serve {path}` serves it; to carry its images, list `- oci: {path}` in a manifest, "
    f"then {_PACK}",
    Kind.DIR_IMAGE: f"to carry it, list `- oci: {{path}}` with `as: NAME:TAG` in a manifest, then {_PACK}",
    Kind.DOCKER_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.OCI_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.EXPORT: "a container's file system is not an image: `docker save IMAGE` writes one",
    Kind.TAR: "list what it holds: tar -tf {path}",
    Kind.PACKED_TAR: f"if it holds images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.PACKED: "unpack it first",
    Kind.ZIP: "unpack it first: unzip {path}",
    Kind.MANIFEST: "`airgap pack {path} --to DIR` makes a bundle of the images that it lists",
    Kind.LOCK: "name the manifest of this lock: {manifest}",
    Kind.INVENTORY: "`airgap send BUNDLE --inventory {path}` sends a bundle to its hosts",
    Kind.COMPOSE: f"{_LIST}; `docker compose -f {{path}} config --images` prints them",
    Kind.KUBERNETES: f"{_LIST}; grep image: {{path}} shows them",
    Kind.KUSTOMIZATION: f"{_LIST}; `kubectl kustomize` prints the documents that name them",
    Kind.CHART: f"{_LIST}; `helm template` prints the documents that name them",
    Kind.HAULER: _LIST,
    Kind.ZARF: _LIST,
    Kind.DOCKERFILE: f"build the image, push or save it, and list it in a manifest; then {_PACK}",
    Kind.IMAGE_LIST: "write `version: 1`, `name: NAME` and `images:` above the names, and `- ` before each",
    Kind.RECEIPT: "`airgap receipt show {path}` shows it, `airgap receipt import {path}` imports it",
    Kind.ROOT: "`airgap trust install {path}` installs it",
    Kind.LEDGER: "`airgap audit verify` checks the ledger of this site, `airgap audit log` shows it",
    Kind.PUBLIC_KEY: "a person's key is used through the trust root: `airgap trust add` adds it",
    Kind.PRIVATE_KEY: "a private key stays on the machine where it was made; never copy it",
    Kind.CERTIFICATE: "use --ca-file {path} to trust a registry's CA",
}
