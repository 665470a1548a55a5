"""Sealed bundles, made in process, and every way of spoiling a copy of one.

Three kinds of spoiler: who only holds the medium (changes files), who can sign (an insider: `restate`,
`forge`, `put_image` sign their lies), and who holds a root key (`put_root`).
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airgap.admin.init_site import set_up
from airgap.admin.install_root import install_root
from airgap.bundle.contents import (
    ENVELOPE_FILE,
    INDEX_FILE,
    MANIFEST_FILE,
    STATEMENT_FILE,
    SUMS_FILE,
    index_json,
    manifest_json,
    sha256sums,
)
from airgap.bundle.files import Folder
from airgap.bundle.statement import ImageRecord, Statement
from airgap.carry.receiver import Receiver
from airgap.carry.verify import verify
from airgap.carry.verify_recorded import keep_root
from airgap.endpoints.layout import Layout
from airgap.manifest import TransferManifest
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from airgap.online.lock import resolve
from airgap.online.pack import pack
from airgap.online.plan import make_plan
from airgap.online.terms import PackOrder
from airgap.progress import Silent
from airgap.site import Mark, Site
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope, Signature
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot, TrustRoot
from tests.support.images import Image, Layer, make_image, make_index, noise, write_layout

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
STREAM = "edge"
SENDER, RECEIVER = "hq", "plant-7"
ONE, TWO, MULTI = (f"registry.test/{name}:1" for name in ("one", "two", "multi"))


def small_images() -> dict[str, Image]:
    """Two images that share a layer and have one of equal size, and an index of two platforms."""
    base = Layer.of({"base.bin": noise(3000, 1)})
    tops = {name: Layer.of({"top": noise(700, seed)}, "none") for seed, name in ((2, ONE), (3, TWO))}
    arm, arm64 = (
        make_image([Layer.of({"bin": noise(500, seed)})], platform)
        for seed, platform in ((4, "linux/arm/v7"), (5, "linux/arm64"))
    )
    amd64 = make_image([base, Layer.of({"bin": noise(500, 6)}, "zstd")], "linux/amd64")
    images = {name: make_image([base, top], label=name) for name, top in tops.items()}
    return {**images, MULTI: make_index([arm, amd64, arm64])}


@dataclass(frozen=True)
class Gap:
    """A sending site's keys, a bundle on its medium, and a receiving site that trusts the sender."""

    folder: Path
    bundle: Path
    home: Path
    """Of the receiving site."""
    key: SigningKey
    """Signs bundles and roots."""
    root: SignedRoot
    now: datetime

    def copy(self, folder: Path) -> "Gap":
        """The same at another place, to be spoilt."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        bundle, home = (folder / path.relative_to(self.folder) for path in (self.bundle, self.home))
        return replace(self, folder=folder, bundle=bundle, home=home)

    @property
    def site(self) -> Site:
        return Site(self.home)

    def receiver(self, **changes: Any) -> Receiver:
        return replace(
            Receiver(site=RECEIVER, root=self.root, mark=self.site.received, now=self.now), **changes
        )

    @property
    def statement(self) -> Statement:
        return Statement.parse((self.bundle / STATEMENT_FILE).read_bytes())

    @property
    def envelope(self) -> Envelope:
        return Envelope.parse((self.bundle / ENVELOPE_FILE).read_bytes(), ENVELOPE_FILE)

    def files(self) -> dict[str, bytes]:
        """What the bundle consists of."""
        return {
            path.relative_to(self.bundle).as_posix(): path.read_bytes()
            for path in self.bundle.rglob("*")
            if path.is_file()
        }

    def blob(self, digest: Digest) -> Path:
        return self.bundle / digest.path

    # -- who holds the medium

    def flip(self, name: str, at: int = -1, bit: int = 0) -> None:
        """Change one bit of a file."""
        path = self.bundle / name
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1 << bit
        path.write_bytes(raw)

    def rewrite(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.bundle / name
        path.write_bytes(change(path.read_bytes()))

    # -- who can sign

    def seal(self, payload: bytes, *signers: SigningKey, payload_type: str = STATEMENT_TYPE) -> None:
        """Sign `payload` as it is, whatever it says."""
        self.put_envelope(Envelope.sign(payload_type, payload, signers or (self.key,)))

    def put_envelope(self, envelope: Envelope) -> None:
        """Envelope, statement and loose signatures, agreeing with one another."""
        (self.bundle / STATEMENT_FILE).write_bytes(envelope.payload)
        (self.bundle / ENVELOPE_FILE).write_bytes(envelope.to_bytes())
        shutil.rmtree(self.bundle / "sig")
        (self.bundle / "sig").mkdir()
        for each in envelope.signatures:
            (self.bundle / "sig" / f"{each.keyid[:16]}.sig").write_bytes(each.sig)

    def add_signature(self, keyid: str, sig: bytes) -> None:
        """One signature more, under any key id."""
        envelope = self.envelope
        self.put_envelope(replace(envelope, signatures=(*envelope.signatures, Signature(keyid, sig))))

    def restate(self, **changes: Any) -> None:
        """Sign a statement that differs in these fields."""
        self.seal(replace(self.statement, **changes).to_bytes())

    def resign(self, old: bytes, new: bytes) -> None:
        """Sign the statement's bytes with a replacement in them."""
        raw = (self.bundle / STATEMENT_FILE).read_bytes()
        assert raw.count(old) == 1, old
        self.seal(raw.replace(old, new))

    def forge(self, files: Mapping[str, bytes | None], **changes: Any) -> None:
        """Change files (None removes one); then sum, list and sign all that is there."""
        for name, raw in files.items():
            path = self.bundle / name
            path.unlink(missing_ok=True)
            if raw is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
        found = {
            path.relative_to(self.bundle).as_posix(): path.read_bytes()
            for path in self.bundle.rglob("*")
            if path.is_file() and path.parent.name != "sig"
        }
        for name in (ENVELOPE_FILE, STATEMENT_FILE, SUMS_FILE):
            del found[name]
        found[SUMS_FILE] = sha256sums({name: Digest.of(raw).hex for name, raw in found.items()})
        (self.bundle / SUMS_FILE).write_bytes(found[SUMS_FILE])
        listed = {
            "subjects": {name: Digest.of(raw).hex for name, raw in found.items()},
            "total_bytes": sum(map(len, found.values())),
        }
        self.restate(**(listed | changes))

    def rename(self, names: Mapping[str, str]) -> None:
        """Sign other names for images that the bundle has, and say the same in every table."""
        with Folder(self.bundle) as folder:
            images = verify(folder, self.receiver()).images
        new = {
            image.record.digest: ImageReference.parse(names.get(str(image.name), str(image.name)))
            for image in images
        }
        views = [image.graph.docker_view(new[image.record.digest]) for image in images]
        tables = {
            INDEX_FILE: index_json((new[image.record.digest], image.graph.root) for image in images),
            MANIFEST_FILE: manifest_json(filter(None, views)),
        }
        self.forge(tables, images=tuple(replace(i.record, name=new[i.record.digest]) for i in images))

    def put_image(
        self,
        raw: bytes,
        *blobs: bytes,
        media_type: str = OCI_MANIFEST,
        size: int | None = None,
        view: bytes = b"[\n\n]\n",
        extra: Mapping[str, bytes] | None = None,
        **record: Any,
    ) -> None:
        """Sign a bundle that holds one image only, of which `raw` is the image manifest or index."""
        shutil.rmtree(self.bundle / "blobs")
        name = ImageReference.parse(ONE)
        root = Descriptor(media_type, Digest.of(raw), len(raw) if size is None else size)
        first = ImageRecord(
            reference=name, name=name, kind="image", digest=root.digest, platforms=(), source="oci"
        )
        files = {Digest.of(each).path: each for each in (raw, *blobs)}
        files |= dict(extra or {})
        files |= {INDEX_FILE: index_json([(name, root)]), MANIFEST_FILE: view}
        self.forge(files, images=(replace(first, **record),))

    # -- who holds a root key

    def put_root(self, root: TrustRoot, *signers: SigningKey, version: int | None = None) -> None:
        """A further root in `trust/`, and a statement that lists it."""
        raw = sign_root(root, *(signers or (self.key,)))
        self.forge({f"trust/{version or root.version}.root.json": raw}, root_version=root.version)

    def install(self, root: TrustRoot, *signers: SigningKey) -> "Gap":
        """Let the receiving site trust `root` from the start."""
        raw = sign_root(root, *(signers or (self.key,)))
        for path in (self.home / "trust").iterdir():
            path.unlink()
        signed = SignedRoot.parse(raw, "root")
        self.site.ledger_path.unlink()
        keep_root(self.site, signed)
        return replace(self, root=signed)


def accept(site: Site, stream: str, mark: Mark) -> None:
    """Let a site have accepted a bundle, as a load leaves it: the mark, and the record of it."""
    with site.ledger().attempt("load") as attempt:
        site.set_received(stream, mark)
        attempt.add(accepted={"stream": stream, **mark.value})


def sign_root(root: TrustRoot, *signers: SigningKey) -> bytes:
    return Envelope.sign(ROOT_TYPE, root.to_bytes(), signers).to_bytes()


def make_gap(
    folder: Path, *, images: Mapping[str, Image] | None = None, now: datetime = NOW, options: str = ""
) -> Gap:
    """Both sites, and a bundle of `images` at `folder/stick`. `options` are lines of the manifest."""
    made = set_up(
        folder / "online", "alice", SENDER, algorithm="ecdsa-p256", passphrase=lambda: b"p", now=now
    )
    sender = Site(made.home)
    key = SigningKey.load(made.key_path, lambda: b"p")
    root = sender.root()
    install_root(folder / "offline", RECEIVER, root, root.fingerprint)
    layout = write_layout(folder / "layout", dict(images or small_images()))
    bundle = pack_layout(layout, sender, key, folder / "stick", now=now, options=options)
    return Gap(folder, bundle, folder / "offline", key, root, now)


def pack_layout(
    layout: Path, site: Site, key: SigningKey, to: Path, *, now: datetime = NOW, options: str = ""
) -> Path:
    """Pack all of an OCI layout at `site`, and all platforms unless `options` name some; the bundle's folder."""
    text = f"version: 1\nname: {STREAM}\n{options}images:\n  - oci: {layout}\n"
    manifest = TransferManifest.parse(text.encode(), layout / "stack.yaml")
    if manifest.platforms is None:  # in place of a line in the text, whose digest old bundles state
        manifest = replace(manifest, images=tuple(replace(image, platforms=()) for image in manifest.images))

    def source(*_: object) -> Layout:
        return Layout(layout)

    plan = make_plan(resolve(manifest, source), source)
    return pack(manifest, plan, site, PackOrder(to=to, signers=(key,), now=now), Silent()).path
