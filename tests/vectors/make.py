"""Writes the test vectors: `python -m tests.vectors.make`, the same bytes each time.

`v1-basic` is a bundle of format v1 with two images that share a layer, one of them for two platforms,
signed by two people as its trust root demands. `v1-volumes` is one of the same images, cut over three volumes:
`PARTED` has a part on each of them, the last volume has two and no whole layer. `v1-recalled` brings a second
trust root, which recalls the bundle of `v1-basic`. Beside the folder of each lie
the root that a receiver has installed and `NAME.expect.json`, what a reader must make of it. Once a format is
released, its vector stays as it is for good: readers of later versions are tested with it.
"""

import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from airgap.bundle.contents import (
    ENVELOPE_FILE,
    INDEX_FILE,
    MANIFEST_FILE,
    OCI_LAYOUT,
    OCI_LAYOUT_FILE,
    STATEMENT_FILE,
    SUMS_FILE,
    VERIFY_FILE,
    index_json,
    manifest_json,
    sha256sums,
)
from airgap.bundle.graph import ImageGraph, walk_image
from airgap.bundle.statement import ImageRecord, LedgerCheckpoint, SendingSite, Statement
from airgap.bundle.volume_table import VOLUME_FILE, Cut, Part, VolumeTable
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.recall import Recall
from airgap.trust.root import ReceivingSite, Role, RootKey, SignedRoot, TrustRoot
from tests.support.images import Image, Layer, make_image, make_index

HERE = Path(__file__).parent
BASIC, VOLUMES, RECALLED = "v1-basic", "v1-volumes", "v1-recalled"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXPIRES = datetime(2026, 4, 2, 3, 4, 5, tzinfo=UTC)
REASON = 'TEST-2: the image "app" has a fault \u2013 do not use it'
VERIFY_TEXT = b"A test vector of airgap, signed by keys that everybody has. Never trust it.\n"


def key(owner: str) -> SigningKey:
    """A key that is public knowledge. Git does not keep the mode that a private key must have."""
    path = HERE / "keys" / f"TEST-ONLY-{owner}.pem"
    path.chmod(0o600)
    return SigningKey.load(path, lambda: b"")


BASE = Layer.of({"base": b"shared by both\n"}, "none")
AMD64, ARM64 = (Layer.of({"tool": word}, "none") for word in (b"amd64\n", b"arm64\n"))
PARTED = Digest.of(BASE.blob)
PLACES = {
    PARTED: ((1, 3000), (2, 1), (3, 4000), (3, len(BASE.blob) - 7001)),
    Digest.of(AMD64.blob): ((2, len(AMD64.blob)),),
    Digest.of(ARM64.blob): ((1, len(ARM64.blob)),),
}
"""Volume and size of each part of the layers of `v1-volumes`."""


def images() -> dict[ImageReference, Image]:
    """Layers are not compressed: no two versions of zlib need to write the same."""
    tool = make_image([BASE, AMD64], label="tool")
    other = make_image([BASE, ARM64], "linux/arm64", label="tool")
    names = {"registry.example/acme/app:1.0": make_image([BASE], docker=True, label="app")}
    names["registry.example/acme/tool:2"] = make_index([tool, other])
    return {ImageReference.parse(name): image for name, image in names.items()}


def root() -> bytes:
    """Alice and Bob must both sign."""
    return signed(first_root())


def signed(document: TrustRoot) -> bytes:
    return Envelope.sign(ROOT_TYPE, document.to_bytes(), [key("alice"), key("bob")]).to_bytes()


def second_root() -> bytes:
    """Recalls the bundle of `v1-basic`."""
    recall = Recall(
        statement_sha256=Digest.of(statement(BASIC, contents()).to_bytes()).hex,
        stream=BASIC,
        epoch=1,
        serial=1,
        reason=REASON,
        time=CREATED,
    )
    return signed(replace(first_root(), version=2, recalled=(recall,)))


def first_root() -> TrustRoot:
    alice, bob, site = (key(owner).public_key for owner in ("alice", "bob", "site"))
    both = frozenset({alice.keyid, bob.keyid})
    return TrustRoot(
        version=1,
        epoch=1,
        expires=datetime(2028, 1, 1, tzinfo=UTC),
        keys={
            alice.keyid: RootKey(alice, "alice"),
            bob.keyid: RootKey(bob, "bob"),
            site.keyid: RootKey(site, "hq"),
        },
        roles={
            "root": Role(both, 2, distinct_owners=True),
            "release": Role(both, 2, distinct_owners=True),
            "receipt": Role(frozenset({site.keyid}), 1, distinct_owners=False),
        },
        sites={"hq": ReceivingSite(frozenset({site.keyid}))},
    )


def graph(name: ImageReference, image: Image) -> ImageGraph:
    return walk_image(image.descriptor, lambda d: image.contents[d.digest], lambda i: i.manifests, str(name))


def contents(*newer_roots: bytes) -> dict[str, bytes]:
    """Every file that the statement lists. `newer_roots` follow the first one."""
    graphs = {name: graph(name, image) for name, image in images().items()}
    files = {digest.path: raw for image in images().values() for digest, raw in image.contents.items()}
    files[OCI_LAYOUT_FILE] = OCI_LAYOUT
    files[INDEX_FILE] = index_json((name, found.root) for name, found in graphs.items())
    views = [view for name, found in graphs.items() if (view := found.docker_view(name))]
    files[MANIFEST_FILE] = manifest_json(views)
    files[VERIFY_FILE] = VERIFY_TEXT
    files |= {f"trust/{n}.root.json": raw for n, raw in enumerate((root(), *newer_roots), 1)}
    files[SUMS_FILE] = sha256sums({file: Digest.of(raw).hex for file, raw in files.items()})
    return files


def statement(stream: str, files: dict[str, bytes], root_version: int = 1) -> Statement:
    graphs = {name: graph(name, image) for name, image in images().items()}
    return Statement(
        subjects={name: Digest.of(raw).hex for name, raw in files.items()},
        stream=stream,
        serial=1,
        epoch=1,
        previous=None,
        created=CREATED,
        not_before=CREATED,
        expires=EXPIRES,
        destinations=("plant-7",),
        images=tuple(
            ImageRecord(
                reference=name,
                name=name,
                kind=found.kind,
                digest=found.root.digest,
                platforms=found.records,
                source="registry",
            )
            for name, found in graphs.items()
        ),
        requires=(),
        total_bytes=sum(map(len, files.values())),
        manifest_sha256="0" * 64,
        root_version=root_version,
        sender=SendingSite("hq", LedgerCheckpoint("hq", 1, "1" * 64)),
        transfer={"ticket": "TEST-1"},
        tool_version="1.0.0",
    )


def expectation(payload: bytes, envelope: Envelope) -> dict[str, object]:
    return {
        "about": "what a reader at site plant-7, at this time and with this root installed, must find",
        "time": CREATED.isoformat(),
        "root_sha256": SignedRoot.parse(root(), "root").fingerprint,
        "statement_sha256": Digest.of(payload).hex,
        "keys": sorted(signature.keyid for signature in envelope.signatures),
        "owners": ["alice", "bob"],
        "images": {str(name): str(image.descriptor.digest) for name, image in images().items()},
    }


def bundle(stream: str) -> dict[str, bytes]:
    """Every file of a bundle that is not cut, by name."""
    newer_roots = [second_root()] if stream == RECALLED else []
    files = contents(*newer_roots)
    payload = statement(stream, files, 1 + len(newer_roots)).to_bytes()
    envelope = Envelope.sign(STATEMENT_TYPE, payload, [key("alice"), key("bob")])
    files |= {f"sig/{found.keyid[:16]}.sig": found.sig for found in envelope.signatures}
    return files | {STATEMENT_FILE: payload, ENVELOPE_FILE: envelope.to_bytes()}


def volumes(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a bundle over three volumes, by folder and name."""
    parts: dict[Digest, tuple[Part, ...]] = {}
    pieces: dict[str, tuple[int, bytes]] = {}
    for digest, places in PLACES.items():
        rest, found = files[digest.path], []
        for number, (volume, size) in enumerate(places):
            piece, rest = rest[:size], rest[size:]
            found.append(Part(volume, size, Digest.of(piece).hex))
            name = f"{digest.path}.{number:03d}" if len(places) > 1 else digest.path
            pieces[name] = (volume, piece)
        parts[digest] = tuple(found)
    table = VolumeTable(Digest.of(files[STATEMENT_FILE]).hex, 1, Cut(3, parts))
    repeated = {name: raw for name, raw in files.items() if name not in {each.path for each in parts}}
    written = {}
    for number in (1, 2, 3):
        own = {name: piece for name, (volume, piece) in pieces.items() if volume == number}
        own |= repeated | {VOLUME_FILE: table.on(number).to_bytes()}
        written |= {f"{VOLUMES}-0001.v{number}/{name}": raw for name, raw in own.items()}
    return written


def vector(name: str) -> dict[str, bytes]:
    """Every file of a vector below this folder, by name."""
    files = bundle(name)
    envelope = Envelope.parse(files[ENVELOPE_FILE], ENVELOPE_FILE)
    expect = json.dumps(expectation(files[STATEMENT_FILE], envelope), indent=2) + "\n"
    beside = {f"{name}.expect.json": expect.encode(), f"{name}.root.json": root()}
    below = volumes(files) if name == VOLUMES else files
    return {f"{name}/{file}": raw for file, raw in below.items()} | beside


def main() -> int:
    for vector_name in (BASIC, VOLUMES, RECALLED):
        shutil.rmtree(HERE / vector_name, ignore_errors=True)
        for name, raw in vector(vector_name).items():
            path = HERE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
