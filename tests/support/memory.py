"""Targets in memory, which do what they are asked, or go wrong in the ways that real ones do."""

import io
import json
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import read_index
from airgap.bundle.tar_entries import read_entries
from airgap.endpoints.engine_info import EngineInfo
from airgap.endpoints.ports import (
    ContentTarget,
    EngineTarget,
    FileTarget,
    FolderTarget,
    RegistryTarget,
    StagingTarget,
)
from airgap.errors import EndpointError
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import ByteStream, Digest, copy
from airgap.oci.documents import CONTAINERD_NAME, Descriptor, ImageConfig, chain_ids
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

AMD64 = Platform("linux", "amd64")


@dataclass
class MemoryContent(ContentTarget):
    """An OCI directory, say. Blobs are kept per target, without a check of their own."""

    name: str = "oci:memory"
    names: dict[str, Digest] = field(default_factory=dict)
    contents: dict[Digest, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """What was done, in order."""
    refuse: set[Digest] = field(default_factory=set)
    """Content that cannot be stored."""
    lies: bool = False
    """Names are not moved, and nothing is said of it."""

    def find(self, reference: ImageReference) -> Digest | None:
        return self.names.get(str(reference))

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        raw = self.contents.get(descriptor.digest)
        return raw is not None and len(raw) == descriptor.size

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        out = bytearray()
        copy(stream, out.extend)
        self._put("blob", descriptor, bytes(out))

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        self._put("document", descriptor, raw)

    def _put(self, what: str, descriptor: Descriptor, raw: bytes) -> None:
        if descriptor.digest in self.refuse:
            raise EndpointError("refused", subject=descriptor.digest)
        self.contents[descriptor.digest] = raw
        self.log.append(what)

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        self.log.append(f"tag {reference}")
        if not self.lies:
            self.names[str(reference)] = descriptor.digest

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:
        if digest in self.refuse:
            raise EndpointError("a container uses the image", subject=reference)
        self.log.append(f"remove {reference}")
        assert self.names.pop(str(reference)) == digest


@dataclass
class MemoryRegistry(MemoryContent, RegistryTarget):
    """A registry that mounts nothing."""

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        return False

    def put_referrer(
        self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes
    ) -> None:
        self.put_document(reference, descriptor, raw)


@dataclass
class MemoryEngine(EngineTarget):
    """A graph-driver engine, or with `keeps_index` one over the containerd store."""

    name: str = "docker"
    keeps_index: bool = False
    config_ids: bool = False
    """With `keeps_index`: podman, whose IDs are those of configs."""
    one_platform: bool = False
    """With `keeps_index`: containerd and podman, which keep no other platform's content."""
    zstd_layers: bool = True
    platform: Platform = AMD64
    names: dict[str, Digest] = field(default_factory=dict)
    images: set[Digest] = field(default_factory=set)
    """The IDs of the images that are there and whole."""
    chains: set[Digest] = field(default_factory=set)
    members: list[list[str]] = field(default_factory=list)
    """The names in each archive that came to its end."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The content of the last archive."""
    log: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """How the next loads go wrong: `cut` in the middle, `complain` at the end, `lie` (done nothing,
    says nothing), `broken` (moves the name and complains), `hollow` (moves the name, says nothing)."""
    one_load: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held during each load: what it changes is not made for several at a time."""

    def _read_info(self) -> EngineInfo:
        return EngineInfo(
            platform=self.platform,
            keeps_index=self.keeps_index,
            zstd_layers=self.zstd_layers,
            version="1.0",
            config_ids=self.config_ids,
            one_platform=self.one_platform,
        )

    def find(self, reference: ImageReference) -> Digest | None:
        return self.names.get(str(reference))

    def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
        return image_id in self.images

    def layer_chains(self) -> frozenset[Digest]:
        return frozenset(self.chains)

    def load(self, tar: Iterable[bytes]) -> None:
        with self.one_load:
            fault = self.faults.pop(0) if self.faults else ""
            raw = self._receive(tar, cut=fault == "cut")
            if fault == "lie":
                return
            self._register(raw, whole=not fault)
            if fault in ("broken", "complain"):
                if fault == "complain":
                    self.names = dict(self._before)
                raise EndpointError("Error unpacking", subject=self.name)

    def _receive(self, tar: Iterable[bytes], *, cut: bool) -> bytes:
        self._before = dict(self.names)
        out = bytearray()
        for chunk in tar:
            out += chunk
            if cut and len(out) > 2000:
                raise EndpointError("connection lost", subject=self.name)
        self.log.append("load")
        return bytes(out)

    def _register(self, raw: bytes, *, whole: bool) -> None:
        entries = read_entries(io.BytesIO(raw))
        self.files = {entry.name: data.read() for entry, data in entries}
        self.members.append(list(self.files))
        if self.config_ids and whole:
            self.images |= {image_id for image_id, _ in self._index()}
        from_index = self.keeps_index and not self.config_ids
        for image_id, names in self._index() if from_index else self._manifest():
            if whole:
                self.images.add(image_id)
            for name in names:
                self.names[name] = image_id

    def _index(self) -> Iterable[tuple[Digest, list[str]]]:
        for entry in json.loads(self.files["index.json"])["manifests"]:
            yield Digest.parse(entry["digest"]), [entry["annotations"][CONTAINERD_NAME]]

    def _manifest(self) -> Iterable[tuple[Digest, list[str]]]:
        for item in json.loads(self.files["manifest.json"]):
            config = self.files[item["Config"]][:MAX_JSON_BYTES]
            chains = chain_ids(ImageConfig.parse(config).diff_ids)
            for path, chain in zip(item["Layers"], chains, strict=True):
                if path not in self.files and chain not in self.chains:
                    raise EndpointError("no such file in the archive", subject=path)
            self.chains |= set(chains)
            yield Digest.of(config), item["RepoTags"]

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        self.log.append(f"tag {reference}")
        self.names[str(reference)] = image_id

    def untag(self, reference: ImageReference) -> None:
        self.log.append(f"untag {reference}")
        self.names.pop(str(reference), None)


@dataclass
class MemoryStaging(MemoryEngine, StagingTarget):
    """containerd itself."""

    keeps_index: bool = True
    one_platform: bool = True

    remark: str = ""

    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
        return all(self.find(name) == image_id for name in reference.names_of(image_id))

    def stage(self, image_id: Digest) -> ImageReference:
        return ImageReference.parse(f"passing.invalid/x:{image_id.hex[:12]}")

    def sweep(self) -> None:
        self.names = {name: to for name, to in self.names.items() if not name.startswith("passing.invalid/")}


@dataclass
class MemoryFolder(FolderTarget):
    """A folder of archives."""

    folder: Path
    name: str = "k3s:memory"
    takes_sparse: bool = False
    hint: str = "restart it"
    log: list[str] = field(default_factory=list)

    def path_of(self, reference: ImageReference) -> Path:
        return self.folder / (str(reference).replace("/", "_") + ".tar")

    def open_archive(self, reference: ImageReference) -> TarFolder:
        return TarFolder(self.path_of(reference))

    def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
        self.log.append(f"put {reference}")
        raw = b"".join(tar)
        self.path_of(reference).write_bytes(raw)


@dataclass
class MemoryFile(FileTarget):
    """One archive."""

    name: str = "archive:memory"
    raw: bytes | None = None
    entries: list[str] = field(default_factory=list)

    def write(self, tar: Iterable[bytes]) -> None:
        self.raw = b"".join(tar)
        self.entries = [entry.name for entry, _ in read_entries(io.BytesIO(self.raw))]

    def names(self) -> dict[ImageReference, Digest]:
        files = {entry.name: data.read() for entry, data in read_entries(io.BytesIO(self.raw or b""))}
        return {name: entry.digest for name, entry in read_index(files["index.json"]).items()}
