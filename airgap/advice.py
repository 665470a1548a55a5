"""What to do with a path that is something else than a command needs: the errors of `airgap.recognise`."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from airgap.errors import AirgapError, FormatError, UsageError
from airgap.recognise import Found, Kind, recognise


@dataclass(frozen=True, slots=True)
class Need:
    """What a command needs a path to be: how a message calls it, and the kinds that it takes.

    What is not recognised is taken too: the command itself says what is wrong with it.
    """

    words: str
    kinds: frozenset[Kind]
    error: type[AirgapError] = UsageError
    """For a path on the command line; one in a document is a mistake of the document."""


_BUNDLES = {Kind.BUNDLE, Kind.BUNDLE_TAR, Kind.UNFINISHED, Kind.VOLUME}
_ODD = {Kind.UNKNOWN, Kind.EMPTY, Kind.SPECIAL}
"""Refused by whoever opens them, as a medium that was prepared or damaged."""

BUNDLE = Need("a bundle", frozenset({*_BUNDLES, *_ODD}))
SERVED = Need("a bundle or an OCI image layout", frozenset({*_BUNDLES, *_ODD, Kind.LAYOUT}))
KIT = Need("a kit", frozenset({Kind.KIT, *_ODD}))
BASE = Need("a receipt or a bundle", frozenset({*_BUNDLES, *_ODD, Kind.RECEIPT, Kind.PART}))
RECEIPT = Need("a receipt", frozenset({Kind.RECEIPT, *_ODD}))
ROOT = Need("a trust root", frozenset({Kind.ROOT, *_ODD}))
MANIFEST = Need("a manifest", frozenset({Kind.MANIFEST, *_ODD, Kind.ABSENT}))
INVENTORY = Need("an inventory of hosts", frozenset({Kind.INVENTORY, *_ODD, Kind.ABSENT}))
_IMAGES = {
    Kind.DOCKER_ARCHIVE,
    Kind.OCI_ARCHIVE,
    Kind.BUNDLE_TAR,
    Kind.UNFINISHED,
    Kind.PACKED,
    Kind.PACKED_TAR,
    Kind.TAR,
}
ARCHIVE = Need("an archive of images", frozenset({*_IMAGES, *_ODD, Kind.ABSENT}), FormatError)
LAYOUT = Need(
    "an OCI image layout",
    frozenset({Kind.LAYOUT, *_BUNDLES, *_ODD, Kind.DIR_IMAGE, Kind.ABSENT}),
    FormatError,
)
"""What manifests name. Their readers report what is not there or damaged, as with a manifest itself."""


def refuse_other(path: Path, need: Need) -> None:
    """Raise `need.error`, with the command that would do, where `path` is known to be something else than
    is needed, or nothing.
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
    """The command that would do, ready to be copied."""
    place = shlex.quote(str(path))
    inside = " ".join(shlex.quote(str(each)) for each in found.inside)
    manifest = shlex.quote(str(path).replace(".lock.", "."))
    text = _HINTS.get(found.kind)
    return text and text.format(path=place, inside=inside, folder=path.parent, manifest=manifest)


_PACK = "`airgap pack MANIFEST --to DIR`"
_LIST = "list its images in a manifest: `version: 1`, `name: NAME`, `images:` and a line `- IMAGE` for each"

_HINTS = {
    Kind.ABSENT: "see how it is spelled, and that the medium is plugged in and mounted",
    Kind.IMAGE_NAME: f"list the image in a manifest, as `- {{path}}` below `images:`; then {_PACK}",
    Kind.ADDRESS: f"a file or a folder is needed; images are pulled by {_PACK}",
    Kind.EMPTY_FOLDER: "is the medium mounted there?",
    Kind.BUNDLE: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    Kind.BUNDLE_TAR: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    Kind.UNFINISHED: "run the same `airgap pack` again to finish it",
    Kind.VOLUME: "`airgap inspect {path}` shows which bundle it belongs to",
    Kind.VOLUMES: "name the volumes together: {inside}",
    Kind.MEDIUM: "name the bundle itself: {inside}",
    Kind.PART: "name the folder that it is in: {folder}",
    Kind.KIT: "`airgap kit verify {path} --into DIR` checks it, and copies what is to be installed",
    Kind.SITE: "AIRGAP_HOME={path} makes it the site's",
    Kind.LAYOUT: "`airgap serve {path}` serves it; to carry its images, list `- oci: {path}` in a manifest, "
    f"then {_PACK}",
    Kind.DIR_IMAGE: f"to carry it, list `- oci: {{path}}` with `as: NAME:TAG` in a manifest, then {_PACK}",
    Kind.DOCKER_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.OCI_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.EXPORT: "it holds no image: `docker save IMAGE` writes one, `docker export` a container's files",
    Kind.TAR: "see what it holds: tar -tf {path}",
    Kind.PACKED_TAR: f"if it holds images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    Kind.PACKED: "unpack it first",
    Kind.ZIP: "unpack it first: unzip {path}",
    Kind.MANIFEST: "`airgap pack {path} --to DIR` makes a bundle of what it lists",
    Kind.LOCK: "name the manifest that it belongs to: {manifest}",
    Kind.INVENTORY: "`airgap send BUNDLE --inventory {path}` sends to its hosts",
    Kind.COMPOSE: f"{_LIST}; `docker compose -f {{path}} config --images` prints them",
    Kind.KUBERNETES: f"{_LIST}; grep image: {{path}} shows them",
    Kind.KUSTOMIZATION: f"{_LIST}; `kubectl kustomize` prints what names them",
    Kind.CHART: f"{_LIST}; `helm template` prints what names them",
    Kind.HAULER: _LIST,
    Kind.ZARF: _LIST,
    Kind.DOCKERFILE: f"build the image, push or save it, and list it in a manifest; then {_PACK}",
    Kind.IMAGE_LIST: "write `version: 1`, `name: NAME` and `images:` above the names, and `- ` before each",
    Kind.RECEIPT: "`airgap receipt show {path}` shows it, `airgap receipt import {path}` takes it in",
    Kind.ROOT: "`airgap trust install {path}` installs it",
    Kind.LEDGER: "`airgap audit verify` checks the ledger of this site, `airgap audit log` shows it",
    Kind.PUBLIC_KEY: "people's keys come with a trust root: `airgap trust add` puts one in",
    Kind.PRIVATE_KEY: "a private key stays where it was made, and is never handed out",
    Kind.CERTIFICATE: "--ca-file {path} makes a registry's CA known",
}
