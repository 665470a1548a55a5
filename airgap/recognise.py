"""Recognises what a path is, for commands that were given a path of another kind than they need.

Names and the beginning of a file are examined, up to fixed limits. Links are followed as the shell does, but
only regular files are opened, without waiting. The result is advice for the person who typed the path: it is
not verified, and no trust decision depends on it.
"""

import base64
import contextlib
import os
import re
import stat
import zlib
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from airgap.errors import AirgapError
from airgap.limits import (
    MAX_HEAD_BYTES,
    MAX_RECOGNISED_BELOW,
    MAX_RECOGNISED_BYTES,
    MAX_RECOGNISED_HEADERS,
    MAX_RECOGNISED_NAMES,
)
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import parse_object
from airgap.values import dataclass

_SHOWN = 8
"""The most bundles or volumes that a hint names."""

BUNDLE_ENVELOPE, KIT_ENVELOPE, VOLUME_TABLE = "bundle.dsse.json", "kit.dsse.json", "volume.json"


class PathKind(Enum):
    """The kinds of paths; the value is the name in messages."""

    ABSENT = "nothing of that name"
    IMAGE_NAME = "an image name"
    ADDRESS = "an address"
    UNKNOWN = "something else"
    EMPTY = "an empty file"
    EMPTY_FOLDER = "an empty folder"
    SPECIAL = "a device, a pipe or a socket"

    BUNDLE = "a bundle"
    BUNDLE_TAR = "the tar of a bundle"
    UNFINISHED = "an unfinished bundle"
    VOLUME = "a volume of a bundle"
    VOLUMES = "a folder of volumes"
    MEDIUM = "a folder that holds bundles"
    PART = "a file of a bundle"
    KIT = "a kit"
    SITE = "the state of a site (AIRGAP_HOME)"

    LAYOUT = "an OCI image layout"
    DIR_IMAGE = "an image in skopeo's and podman's dir: form"
    DOCKER_ARCHIVE = "an archive of images (docker save)"
    OCI_ARCHIVE = "an archive of images (OCI)"
    EXPORT = "the file system of a container (docker export)"
    TAR = "a tar that holds neither a bundle nor images"
    PACKED_TAR = "a compressed tar"
    PACKED = "a compressed file"
    ZIP = "a zip file"

    MANIFEST = "a manifest"
    LOCK = "a lock"
    INVENTORY = "an inventory of hosts"
    COMPOSE = "a Compose file"
    KUBERNETES = "a Kubernetes file"
    KUSTOMIZATION = "a kustomization"
    CHART = "a Helm chart"
    HAULER = "a Hauler manifest"
    ZARF = "a Zarf package definition"
    DOCKERFILE = "a Dockerfile"
    IMAGE_LIST = "a list of image names"

    RECEIPT = "a receipt"
    ROOT = "a trust root"
    ENVELOPE = "another signed document"
    LEDGER = "an audit ledger"
    BACKUP = "an encrypted backup (age)"
    PUBLIC_KEY = "a public key"
    PRIVATE_KEY = "a private key"
    CERTIFICATE = "a certificate"


@dataclass(frozen=True, slots=True)
class RecognisedPath:
    """What is at a path."""

    kind: PathKind
    inside: tuple[Path, ...] = ()
    """The bundles on a medium, or the volumes in a folder; only the first ones."""
    detail: str = ""
    """A more exact name than that of the kind, such as "a gzip file"."""

    @property
    def words(self) -> str:
        """Its name in messages."""
        return self.detail or self.kind.value


def recognise(path: Path) -> RecognisedPath:
    """Return what is at `path`; never raises, whatever is there."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _absent(path)
    except (OSError, ValueError):
        return RecognisedPath(PathKind.UNKNOWN)
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(status.st_mode):
            return _folder(path)
        if stat.S_ISREG(status.st_mode):
            return _file(path)
        return RecognisedPath(PathKind.SPECIAL, detail=_SPECIAL.get(stat.S_IFMT(status.st_mode), ""))
    return RecognisedPath(PathKind.UNKNOWN)


_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _absent(path: Path) -> RecognisedPath:
    """Recognise a path that does not exist: a broken link, a typing error, an image name, or an address."""
    text = str(path)
    if path.is_symlink():
        return RecognisedPath(PathKind.ABSENT, detail="a symbolic link to nothing")
    if re.match(r"[a-z][a-z0-9+-]*:/", text):  # Path makes one slash of two
        return RecognisedPath(PathKind.ADDRESS)
    with_host = re.match(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?/", text)
    if (":" in text or with_host) and _is_image_name(text) and not text.endswith(_SUFFIXES):
        return RecognisedPath(PathKind.IMAGE_NAME)
    return RecognisedPath(PathKind.ABSENT)


_SUFFIXES = (".yaml", ".yml", ".tar", ".json", ".gz", ".tgz", ".zst", ".pem", ".pub")


# -- folders


def _folder(path: Path) -> RecognisedPath:
    with os.scandir(path) as entries:
        names = {entry.name for entry, _ in zip(entries, range(MAX_RECOGNISED_NAMES), strict=False)}
    kind = next((kind for kind, fits in _FOLDERS if fits(names)), None)
    if kind is not None:
        return RecognisedPath(kind)
    bundles = _bundles_of(path, names)
    volumes = [entry for entry in bundles if (entry / VOLUME_TABLE).is_file()]
    if volumes and len(volumes) == len(bundles):
        return RecognisedPath(PathKind.VOLUMES, tuple(volumes[:_SHOWN]))
    if bundles:
        return RecognisedPath(PathKind.MEDIUM, tuple(bundles[:_SHOWN]))
    return RecognisedPath(PathKind.UNKNOWN if names else PathKind.EMPTY_FOLDER)


def bundles_in(folder: Path, title: str | None = None) -> list[Path]:
    """Return the bundles and volumes directly below `folder`, as far as names and the beginnings of files
    show; only those that are called `title`, if given. Links are not followed. May raise `OSError`.
    """
    with os.scandir(folder) as entries:
        names = {entry.name for entry, _ in zip(entries, range(MAX_RECOGNISED_NAMES), strict=False)}
    if title is not None:
        names = {name for name in names if re.fullmatch(rf"{re.escape(title)}(\.v[0-9]{{1,3}}|\.tar)?", name)}
    return _bundles_of(folder, names)


def _bundles_of(folder: Path, names: set[str]) -> list[Path]:
    below = [folder / name for name in sorted(names) if not name.startswith(".")][:MAX_RECOGNISED_BELOW]
    return [entry for entry in below if not entry.is_symlink() and _is_bundle(entry)]


def _is_bundle(path: Path) -> bool:
    if (path / VOLUME_TABLE).is_file():
        return True
    if path.suffix == ".tar" and path.is_file():
        return _file(path).kind is PathKind.BUNDLE_TAR
    return (path / BUNDLE_ENVELOPE).is_file()


_FOLDERS: tuple[tuple[PathKind, Callable[[set[str]], bool]], ...] = (
    (PathKind.VOLUME, lambda names: VOLUME_TABLE in names),
    (PathKind.BUNDLE, lambda names: BUNDLE_ENVELOPE in names),
    (PathKind.KIT, lambda names: KIT_ENVELOPE in names or {"install.sh", "wheels", "requirements"} <= names),
    (PathKind.UNFINISHED, lambda names: bool(names & {"statement.json", "SHA256SUMS"}) and "blobs" in names),
    (PathKind.SITE, lambda names: {"site.json", "trust"} <= names),
    (PathKind.LAYOUT, lambda names: bool(names & {"oci-layout", "index.json"}) and "blobs" in names),
    (PathKind.CHART, lambda names: {"Chart.yaml", "templates"} <= names),
    (PathKind.DIR_IMAGE, lambda names: {"version", "manifest.json"} <= names),
)


# -- files


def _file(path: Path) -> RecognisedPath:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):  # changed since it was examined
            return RecognisedPath(PathKind.SPECIAL)
        head = os.pread(fd, MAX_HEAD_BYTES, 0)
        if _is_tar(head):
            return _tar(fd, status.st_size)
        if head.startswith(b"age-encryption.org/"):
            return RecognisedPath(PathKind.BACKUP)
        if b"\0" in head or head[:2] == b"\x1f\x8b":
            return _binary(head)
        return _text(path, head, lambda: os.pread(fd, MAX_RECOGNISED_BYTES, 0))
    finally:
        os.close(fd)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _tar(fd: int, size: int) -> RecognisedPath:
    names, whole = _members(fd, size)
    leaves = {name.rpartition("/")[2] for name in names}
    if BUNDLE_ENVELOPE in leaves:
        return RecognisedPath(PathKind.BUNDLE_TAR)
    if {"statement.json", "SHA256SUMS"} & leaves:
        return RecognisedPath(PathKind.UNFINISHED)
    if ".dockerenv" in names:
        return RecognisedPath(PathKind.EXPORT)
    if not whole:  # the envelope may be anywhere, perhaps after the examined part
        return RecognisedPath(PathKind.UNKNOWN)
    if "manifest.json" in leaves:
        return RecognisedPath(PathKind.DOCKER_ARCHIVE)
    return RecognisedPath(PathKind.OCI_ARCHIVE if {"oci-layout", "index.json"} & leaves else PathKind.TAR)


def _members(fd: int, size: int) -> tuple[set[str], bool]:
    """Return the names in the headers of a tar, and whether they are complete; pax records are ignored."""
    names: set[str] = set()
    offset = 0
    for _ in range(MAX_RECOGNISED_HEADERS):
        header = os.pread(fd, 512, offset)
        if not _is_tar(header):
            return names, offset == size or header == bytes(512)
        names.add(header[:100].partition(b"\0")[0].decode("utf-8", "replace"))
        digits = header[124:136].strip(b" \0")
        if not re.fullmatch(rb"[0-7]{1,11}", digits):
            break
        offset += 512 + (int(digits, 8) + 511) // 512 * 512
    return names, False


_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
)


def _binary(head: bytes) -> RecognisedPath:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            inner = _unzipped(head) if name == "gzip" else b""
            what = f"a tar, compressed with {name}" if _is_tar(inner) else f"a file, compressed with {name}"
            return RecognisedPath(PathKind.PACKED_TAR if _is_tar(inner) else PathKind.PACKED, detail=what)
    return RecognisedPath(PathKind.ZIP if head.startswith(b"PK\x03\x04") else PathKind.UNKNOWN)


def _unzipped(head: bytes) -> bytes:
    """Return the first bytes of the content of a gzip file."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(head, 1024)
    except zlib.error:
        return b""


def _text(path: Path, head: bytes, read: Callable[[], bytes]) -> RecognisedPath:
    if not head:
        return RecognisedPath(PathKind.EMPTY)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return RecognisedPath(PathKind.PACKED, detail=f"a file, compressed with {name}")
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if match := re.search(r"^-----BEGIN ([A-Z0-9 ]+)-----", text, re.MULTILINE):
        return RecognisedPath(_pem(match[1]))
    if text.startswith(("ssh-", "ecdsa-sha2-", "sk-ssh-")):
        return RecognisedPath(PathKind.PUBLIC_KEY, detail="a public SSH key")
    if text.startswith("{"):
        return _json(path, text, read)
    if re.search(r"^FROM\s+\S", text, re.MULTILINE) and not re.search(r"^\w+:", text, re.MULTILINE):
        return RecognisedPath(PathKind.DOCKERFILE)
    return _yaml(text)


def _pem(label: str) -> PathKind:
    if "PRIVATE KEY" in label:
        return PathKind.PRIVATE_KEY
    return PathKind.CERTIFICATE if "CERTIFICATE" in label else PathKind.PUBLIC_KEY


_DOCUMENTS = {
    "urn:airgap:bundle:v1": (PathKind.PART, "the envelope of a bundle"),
    "urn:airgap:kit:v1": (PathKind.PART, "the envelope of a kit"),
    "urn:airgap:receipt:v1": (PathKind.RECEIPT, ""),
}
"""The kinds by predicate type of the signed statement."""
ROOT_PAYLOAD_TYPE = "application/vnd.airgap.root.v1+json"


def _json(path: Path, text: str, read: Callable[[], bytes]) -> RecognisedPath:
    """Recognise a signed document, or a line of a ledger."""
    first = text.partition("\n")[0]
    if first.startswith('{"seq":') and '"prev":' in first:
        return RecognisedPath(PathKind.LEDGER)
    if path.name in ("statement.json", VOLUME_TABLE, "oci-layout", "index.json", "manifest.json"):
        return RecognisedPath(PathKind.PART, detail=f"one file of a folder ({path.name})")
    with contextlib.suppress(AirgapError, ValueError):
        return _signed(parse_object(read(), str(path), max_bytes=MAX_RECOGNISED_BYTES))
    return RecognisedPath(PathKind.UNKNOWN)


def _signed(document: dict[str, object]) -> RecognisedPath:
    if document.get("payloadType") == ROOT_PAYLOAD_TYPE:
        return RecognisedPath(PathKind.ROOT)
    if "payload" not in document or "signatures" not in document:
        if "apiVersion" in document and "kind" in document:
            return RecognisedPath(PathKind.KUBERNETES)
        return RecognisedPath(PathKind.UNKNOWN)
    payload = base64.b64decode(str(document["payload"]))
    for urn, (kind, detail) in _DOCUMENTS.items():
        if f'"{urn}"'.encode() in payload:
            return RecognisedPath(kind, detail=detail)
    return RecognisedPath(PathKind.ENVELOPE)


_YAML = (
    (PathKind.LOCK, r"manifest_sha256:"),
    (PathKind.INVENTORY, r"hosts:"),
    (PathKind.COMPOSE, r"services:"),
    (PathKind.HAULER, r"apiVersion: *[\"']?content\.hauler"),
    (PathKind.ZARF, r"kind: *Zarf"),
    (PathKind.KUSTOMIZATION, r"(kind: *Kustomization|resources:)"),
    (PathKind.KUBERNETES, r"kind:"),
    (PathKind.CHART, r"apiVersion: *v[12]"),
    (PathKind.MANIFEST, r"images:"),
)
"""Top-level keys that identify a file; the first match counts."""


def _yaml(text: str) -> RecognisedPath:
    """Recognise a YAML file by its keys, without parsing it."""
    for kind, key in _YAML:
        if re.search(rf"^{key}", text, re.MULTILINE):
            return RecognisedPath(kind)
    lines = [line for line in text.splitlines()[:-1] or [text] if line and not line.startswith("#")]
    return RecognisedPath(
        PathKind.IMAGE_LIST if lines and all(map(_is_image_name, lines)) else PathKind.UNKNOWN
    )


def _is_image_name(text: str) -> bool:
    """Return whether the text is very probably an image name: it has a tag, a digest or a repository."""
    try:
        ImageReference.parse(text)
    except AirgapError:
        return False
    return re.search(r":[^/]+$|/", text) is not None
