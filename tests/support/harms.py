"""Ways to harm a bundle, for tables of bad ones: each gives a function that spoils a `Gap`."""

import base64
import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, SUMS_FILE, DockerView, manifest_json
from airgap.bundle.statement import PlatformRecord
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump
from airgap.site import Mark
from airgap.trust.document import Revocation, Role, RootKey
from airgap.trust.keys import SigningKey
from tests.support.bundles import (
    DAY,
    ONE,
    STREAM,
    TWO,
    Gap,
    accept,
    small_images,
)
from tests.support.images import Image, simple_image


def config_of(image: Image) -> Digest:
    assert image.config is not None
    return image.config


IMAGES = small_images()
LAYER = IMAGES[ONE].layers[1]
OTHER_LAYER = IMAGES[TWO].layers[1]
CONFIG = config_of(IMAGES[ONE])
OTHER_CONFIG = config_of(IMAGES[TWO])
MANIFEST = IMAGES[ONE].descriptor.digest
STRANGER = SigningKey.generate()
ROOTS = SigningKey.generate()
ALL = ImageReference.parse(ONE), IMAGES[ONE].descriptor
JSON_BOMB = b'{"a":' * 5000 + b"1" + b"}" * 5000

Harm = Callable[[Gap], object]
"""Spoils a gap in place, or returns the one to go on with."""
Case = tuple[Harm, int, str]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# -- ways to harm ------------------------------------------------------------------------------------


def flip(name: str, at: int = -1) -> Harm:
    return lambda gap: gap.flip(name, at)


def cut(name: str) -> Harm:
    return lambda gap: gap.rewrite(name, lambda raw: raw[:-1])


def empty(name: str) -> Harm:
    return lambda gap: gap.rewrite(name, lambda _: b"")


def grow(name: str) -> Harm:
    return lambda gap: gap.rewrite(name, lambda raw: raw + b"\n")


def write(name: str | bytes, raw: bytes = b"x") -> Harm:
    def harm(gap: Gap) -> None:
        path = gap.bundle / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)

    return harm


def remove(name: str) -> Harm:
    return lambda gap: (gap.bundle / name).unlink()


def swap(first: str, second: str) -> Harm:
    def harm(gap: Gap) -> None:
        one, two = gap.bundle / first, gap.bundle / second
        assert one.stat().st_size == two.stat().st_size
        raw = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(raw)

    return harm


def instead(name: str, make: Callable[[Path, Path], object]) -> Harm:
    """Move the file or folder away from the bundle, and let `make(path, moved)` put something there."""

    def harm(gap: Gap) -> None:
        path, moved = gap.bundle / name, gap.folder / "moved"
        path.rename(moved)
        make(path, moved)

    return harm


def listen(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the whole path may be too long for a socket
        os.close(folder)


def device(path: Path, _: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def restate(**changes: Any) -> Harm:
    return lambda gap: gap.restate(**{k: v(gap) if callable(v) else v for k, v in changes.items()})


def resign(old: bytes, new: bytes) -> Harm:
    return lambda gap: gap.resign(old, new)


def payload(raw: bytes) -> Harm:
    return lambda gap: gap.seal(raw)


def envelope(change: Callable[[dict[str, Any]], object]) -> Harm:
    def harm(gap: Gap) -> None:
        value = json.loads((gap.bundle / ENVELOPE_FILE).read_bytes())
        change(value)
        (gap.bundle / ENVELOPE_FILE).write_bytes(dump(value) + b"\n")

    return harm


def forge(name: str, raw: bytes | None) -> Harm:
    return lambda gap: gap.forge({name: raw})


def first_image(**changes: Any) -> Harm:
    """Lie about one image in the statement."""

    def harm(gap: Gap) -> None:
        first, *rest = gap.statement.images
        gap.restate(images=(replace(first, **changes), *rest))

    return harm


def first_platform(**changes: Any) -> Harm:
    def harm(gap: Gap) -> None:
        first, *rest = gap.statement.images
        gap.restate(images=(replace(first, platforms=(replace(first.platforms[0], **changes),)), *rest))

    return harm


def subject(old: str, new: str) -> Harm:
    """Rename a file of the statement, and nothing else."""
    return lambda gap: gap.resign(f'"name":"{old}"'.encode(), f'"name":"{new}"'.encode())


def lying_sums(gap: Gap) -> None:
    raw = (gap.bundle / SUMS_FILE).read_bytes() + b"0" * 64 + b"  another\n"
    (gap.bundle / SUMS_FILE).write_bytes(raw)
    subjects = gap.statement.subjects | {SUMS_FILE: Digest.of(raw).hex}
    gap.restate(subjects=subjects, total_bytes=gap.statement.total_bytes + 75)


def mark(serial: int, sha256: str = "a" * 64, epoch: int = 1) -> Harm:
    return lambda gap: accept(gap.site, STREAM, Mark(epoch, serial, sha256))


# -- image manifests that lie


def descriptor(raw: bytes, media_type: str = OCI_LAYER_GZIP, **changes: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw), **changes}


PLAIN = simple_image("plain", 300)
PLAIN_LAYER = PLAIN.contents[PLAIN.layers[0]]
PLAIN_CONFIG = PLAIN.contents[config_of(PLAIN)]


def truth(manifest: bytes, config: bytes) -> dict[str, Any]:
    """What the rest of the bundle says of this image manifest, when the manifest alone is a lie."""
    digest = Digest.of(config)
    view = DockerView(ImageReference.parse(ONE), digest.path, (PLAIN.layers[0].path,))
    platforms = (PlatformRecord("linux/amd64", Digest.of(manifest), digest),)
    return {"platforms": platforms, "view": manifest_json([view])}


def document(change: Callable[[dict[str, Any]], object], **options: Any) -> Harm:
    """Sign a bundle whose only image has a changed image manifest."""

    def harm(gap: Gap) -> None:
        value = json.loads(PLAIN.raw)
        changed = change(value)
        raw = changed if isinstance(changed, bytes) else json.dumps(value).encode()
        gap.put_image(raw, PLAIN_LAYER, PLAIN_CONFIG, **truth(raw, PLAIN_CONFIG), **options)

    return harm


def layer(**changes: Any) -> Harm:
    return document(lambda value: value["layers"][0].update(changes))


def config(change: Callable[[dict[str, Any]], object]) -> Harm:
    """Sign a bundle whose only image has a changed config."""

    def harm(gap: Gap) -> None:
        inner = json.loads(PLAIN_CONFIG)
        changed = change(inner)
        raw = changed if isinstance(changed, bytes) else json.dumps(inner).encode()
        value = json.loads(PLAIN.raw)
        value["config"] = descriptor(raw, OCI_CONFIG)
        manifest = json.dumps(value).encode()
        gap.put_image(manifest, PLAIN_LAYER, raw, **truth(manifest, raw))

    return harm


def index(*entries: dict[str, Any], contents: tuple[bytes, ...] = ()) -> Harm:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    raw = json.dumps(value).encode()
    options = truth(PLAIN.raw, PLAIN_CONFIG)
    return lambda gap: gap.put_image(raw, *contents, media_type=OCI_INDEX, **options)


def nested() -> Harm:
    raw, contents = PLAIN.raw, [PLAIN_CONFIG, PLAIN_LAYER]
    media_type = OCI_MANIFEST
    for _ in range(3):
        contents.append(raw)
        entry = descriptor(raw, media_type)
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        media_type = OCI_INDEX
    return lambda gap: gap.put_image(raw, *contents, media_type=OCI_INDEX)


# -- trust roots


def second_root(gap: Gap, **changes: Any) -> Any:
    return replace(gap.root.root, version=2, **changes)


def installed(**changes: Any) -> Harm:
    """The receiving side trusts another version 1."""

    def harm(gap: Gap) -> Gap:
        return gap.install(
            replace(gap.root.root, **{k: v(gap) if callable(v) else v for k, v in changes.items()})
        )

    return harm


def two_keys(gap: Gap) -> dict[str, RootKey]:
    return {**gap.root.root.keys, STRANGER.public_key.keyid: RootKey(STRANGER.public_key, "bob")}


def two_of_two(gap: Gap) -> dict[str, Role]:
    both = frozenset({gap.key.public_key.keyid, STRANGER.public_key.keyid})
    return {**gap.root.root.roles, "release": Role(both, 2, distinct_owners=False)}


def same_key_twice(gap: Gap) -> Gap:
    """The other signature (r, n - s) that everybody can make of an ECDSA signature."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode_dss_signature(gap.envelope.signatures[0].sig)
    gap.add_signature("ab" * 32, encode_dss_signature(r, n - s))
    return gap.install(replace(gap.root.root, keys=two_keys(gap), roles=two_of_two(gap)))


def revoked(gap: Gap) -> Gap:
    """The bundle brings root 2, which revokes the key that signed the bundle."""
    old = gap.root.root
    keys = {**old.keys, ROOTS.public_key.keyid: RootKey(ROOTS.public_key, "officer")}
    roles = {**old.roles, "root": Role(frozenset({ROOTS.public_key.keyid}), 1, distinct_owners=False)}
    first = replace(old, keys=keys, roles=roles)
    gap = gap.install(first, ROOTS)
    second = replace(first, version=2, revoked={gap.key.public_key.keyid: Revocation(0, frozenset())})
    gap.put_root(second, ROOTS)
    return gap


def broken_chain(gap: Gap) -> None:
    """Root 2 is left out, and root 3 is there."""
    gap.put_root(replace(gap.root.root, version=3), version=3)


def renamed_root(gap: Gap) -> None:
    gap.put_root(replace(gap.root.root, version=3), version=2)


def falling_epoch(gap: Gap) -> None:
    gap.put_root(second_root(gap, epoch=0))


def stranger_root(gap: Gap) -> None:
    """A root that says only of itself that it may be signed by a stranger."""
    key = RootKey(STRANGER.public_key, "mallory")
    roles = {
        name: Role(frozenset({STRANGER.public_key.keyid}), 1, distinct_owners=False)
        for name in gap.root.root.roles
    }
    root = second_root(gap, keys={STRANGER.public_key.keyid: key}, roles=roles, sites={})
    gap.put_root(root, STRANGER)
    gap.seal((gap.bundle / STATEMENT_FILE).read_bytes(), STRANGER)


def late_root(gap: Gap) -> None:
    gap.put_root(second_root(gap, expires=gap.now - DAY))
