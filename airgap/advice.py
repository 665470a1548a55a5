"""The errors for a path of another kind than a command needs, with the command that would accept it."""

import shlex
from pathlib import Path

from airgap.errors import AirgapError, FormatError, UsageError
from airgap.recognise import PathKind, RecognisedPath, recognise
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """The kind of path that a command needs: its name in messages, and the kinds that are accepted.

    A path that is not recognised is accepted too: the command itself reports what is wrong with it.
    """

    words: str
    kinds: frozenset[PathKind]
    error: type[AirgapError] = UsageError
    """`UsageError` for a path on the command line, `FormatError` for a path in a document."""


_BUNDLES = {PathKind.BUNDLE, PathKind.BUNDLE_TAR, PathKind.UNFINISHED, PathKind.VOLUME}
_UNRECOGNISED = {PathKind.UNKNOWN, PathKind.EMPTY, PathKind.SPECIAL}
"""Accepted here, and refused by the code that opens them, which can report exactly what is wrong."""

BUNDLE = Need("a bundle", frozenset({*_BUNDLES, *_UNRECOGNISED}))
SERVED = Need("a bundle or an OCI image layout", frozenset({*_BUNDLES, *_UNRECOGNISED, PathKind.LAYOUT}))
KIT = Need("a kit", frozenset({PathKind.KIT, *_UNRECOGNISED}))
BASE = Need("a receipt or a bundle", frozenset({*_BUNDLES, *_UNRECOGNISED, PathKind.RECEIPT, PathKind.PART}))
BACKUP = Need("a backup", frozenset({PathKind.BACKUP, *_UNRECOGNISED}))
COMPARED = Need(
    "a manifest, a lock or a bundle",
    frozenset(
        {
            PathKind.MANIFEST,
            PathKind.LOCK,
            PathKind.BUNDLE,
            PathKind.BUNDLE_TAR,
            PathKind.VOLUME,
            *_UNRECOGNISED,
        }
    ),
)
RECEIPT = Need("a receipt", frozenset({PathKind.RECEIPT, *_UNRECOGNISED}))
ROOT = Need(
    "a trust root",
    frozenset({PathKind.ROOT, PathKind.VOLUMES, PathKind.MEDIUM, PathKind.SITE, *_BUNDLES, *_UNRECOGNISED}),
)
"""Or what holds trust roots."""
MANIFEST = Need("a manifest", frozenset({PathKind.MANIFEST, *_UNRECOGNISED, PathKind.ABSENT}))
INVENTORY = Need("an inventory of hosts", frozenset({PathKind.INVENTORY, *_UNRECOGNISED, PathKind.ABSENT}))
_IMAGES = {
    PathKind.DOCKER_ARCHIVE,
    PathKind.OCI_ARCHIVE,
    PathKind.BUNDLE_TAR,
    PathKind.UNFINISHED,
    PathKind.PACKED,
    PathKind.PACKED_TAR,
    PathKind.TAR,
}
ARCHIVE = Need("an archive of images", frozenset({*_IMAGES, *_UNRECOGNISED, PathKind.ABSENT}), FormatError)
LAYOUT = Need(
    "an OCI image layout",
    frozenset({PathKind.LAYOUT, *_BUNDLES, *_UNRECOGNISED, PathKind.DIR_IMAGE, PathKind.ABSENT}),
    FormatError,
)
"""What manifests name. Their readers report files that are missing or damaged, as for a manifest itself."""


def refuse_other(path: Path, need: Need) -> None:
    """Raise `need.error`, with the right command as hint, if `path` does not exist or is known to be of
    another kind than is needed.
    """
    recognised = recognise(path)
    if recognised.kind in need.kinds:
        return
    hint = _hint(recognised, path)
    if recognised.kind in (PathKind.ABSENT, PathKind.IMAGE_NAME, PathKind.ADDRESS):
        got = None if recognised == RecognisedPath(PathKind.ABSENT) else recognised.words
        raise need.error("no such file or folder", subject=path, got=got, hint=hint)
    raise need.error(f"not {need.words}", subject=path, got=recognised.words, hint=hint)


def _hint(recognised: RecognisedPath, path: Path) -> str | None:
    """Return the command that accepts this path, ready to be copied."""
    quoted = shlex.quote(str(path))
    inside = " ".join(shlex.quote(str(folder)) for folder in recognised.inside)
    manifest = shlex.quote(str(path).replace(".lock.", "."))
    text = _HINTS.get(recognised.kind)
    return text and text.format(path=quoted, inside=inside, folder=path.parent, manifest=manifest)


_PACK = "`airgap pack MANIFEST --to DIR`"
_DISCOVER = "`airgap discover {path} -o stack.yaml` finds its images, and writes a manifest of them"

_HINTS = {
    PathKind.ABSENT: "check the spelling, and that the medium is plugged in and mounted",
    PathKind.IMAGE_NAME: "`airgap pack {path} --to DIR` makes a bundle of the image",
    PathKind.ADDRESS: f"a file or a folder is needed; images are pulled by {_PACK}",
    PathKind.EMPTY_FOLDER: "is the medium mounted there?",
    PathKind.BUNDLE: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    PathKind.BUNDLE_TAR: "`airgap verify {path}` checks it, `airgap load {path} --to TARGET` loads it",
    PathKind.UNFINISHED: "run the same `airgap pack` again to finish it",
    PathKind.VOLUME: "`airgap inspect {path}` shows which bundle it belongs to",
    PathKind.VOLUMES: "name the volumes together: {inside}",
    PathKind.MEDIUM: "name the bundle itself: {inside}",
    PathKind.PART: "name the folder that holds it: {folder}",
    PathKind.KIT: "`airgap kit verify {path} --into DIR` checks the kit and copies the files to install",
    PathKind.SITE: "set AIRGAP_HOME={path} to use this site",
    PathKind.LAYOUT: "`airgap serve {path}` serves it; to carry its images, list `- oci: {path}` in a "
    f"manifest, then {_PACK}",
    PathKind.DIR_IMAGE: "to carry it, list `- oci: {path}` with `as: NAME:TAG` in a manifest, "
    f"then {_PACK}",
    PathKind.DOCKER_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    PathKind.OCI_ARCHIVE: f"to carry its images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    PathKind.EXPORT: "a container's file system is not an image: `docker save IMAGE` writes one",
    PathKind.TAR: "list what it holds: tar -tf {path}",
    PathKind.PACKED_TAR: f"if it holds images, list `- archive: {{path}}` in a manifest, then {_PACK}",
    PathKind.PACKED: "unpack it first",
    PathKind.ZIP: "unpack it first: unzip {path}",
    PathKind.MANIFEST: "`airgap pack {path} --to DIR` makes a bundle of the images that it lists",
    PathKind.LOCK: "name the manifest of this lock: {manifest}",
    PathKind.INVENTORY: "`airgap send BUNDLE --inventory {path}` sends a bundle to its hosts",
    PathKind.COMPOSE: _DISCOVER,
    PathKind.KUBERNETES: _DISCOVER,
    PathKind.KUSTOMIZATION: _DISCOVER,
    PathKind.CHART: _DISCOVER,
    PathKind.HAULER: _DISCOVER,
    PathKind.ZARF: _DISCOVER,
    PathKind.DOCKERFILE: f"build the image, push or save it, and list it in a manifest; then {_PACK}",
    PathKind.IMAGE_LIST: _DISCOVER,
    PathKind.RECEIPT: "`airgap receipt show {path}` shows it, `airgap receipt import {path}` imports it",
    PathKind.ROOT: "`airgap trust install {path}` installs it",
    PathKind.BACKUP: "`airgap restore {path}` restores the site in it into an empty AIRGAP_HOME",
    PathKind.LEDGER: "`airgap audit verify` checks the ledger of this site, `airgap audit log` shows it",
    PathKind.PUBLIC_KEY: "a person's key is used through the trust root: `airgap trust add` adds it",
    PathKind.PRIVATE_KEY: "a private key stays on the machine where it was made; never copy it",
    PathKind.CERTIFICATE: "use --ca-file {path} to trust a registry's CA",
}
