"""Loading into a Docker engine: one stream an image, checked afterwards, old names put back on failure."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from airgap.bundle.graph import CarriedManifest
from airgap.endpoints.ports import EngineInfo, StreamTarget
from airgap.errors import AirgapError, EndpointError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor, chain_ids
from airgap.offline.contents import VerifiedImage
from airgap.offline.loading import FAILED, LOADED, THERE, LoadedImage, Loading, confirmed
from airgap.offline.stream import ImageTar, runnable


@dataclass(slots=True)
class EngineLoader:
    """A `Loader` over a `StreamTarget`."""

    target: StreamTarget
    loading: Loading
    info: EngineInfo
    chains: frozenset[Digest] = field(init=False)
    """Chain IDs of the layers that a graph driver has (OCI image-spec, config.md#layer-chainid)."""

    def __post_init__(self) -> None:
        self.chains = frozenset() if self.info.keeps_index else self.target.layer_chains()

    def look(self, image: VerifiedImage) -> LoadedImage:
        before = self.target.find(image.name)
        try:
            wanted = self._wanted(image)
        except EndpointError as error:
            return LoadedImage(image, FAILED, before, before, error)
        there = (before == wanted or not image.name.tag) and self.target.find_id(wanted)
        return LoadedImage(image, THERE if there else LOADED, before, wanted if there else None)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        required = self.loading.required & set(image.graph.blobs)
        lacking = required - self._present(image) if required else required
        if not self.info.keeps_index:
            lacking &= {blob.digest for blob in self._chosen(image).manifest.blobs}
        return [image.graph.blobs[digest] for digest in sorted(lacking)]

    def _chosen(self, image: VerifiedImage) -> CarriedManifest:
        return runnable(image, self.info.platform)

    def _wanted(self, image: VerifiedImage) -> Digest:
        """The ID that the image has in this engine."""
        chosen = self._chosen(image)
        return image.record.digest if self.info.keeps_index else chosen.manifest.config.digest

    def _present(self, image: VerifiedImage) -> set[Digest]:
        """The layers of the image that the engine is proved to have."""
        if self.info.keeps_index:
            return self._present_content(image)
        chosen = self._chosen(image)
        diff_ids = chosen.config.diff_ids if chosen.config else ()
        links = zip(chosen.manifest.layers, chain_ids(diff_ids), strict=True)
        return {layer.digest for layer, chain in links if chain in self.chains}

    def _present_content(self, image: VerifiedImage) -> set[Digest]:
        """Blobs of images that were loaded here before and that the engine says are there and whole."""
        found: set[Digest] = set()
        whole: dict[Digest, bool] = {}
        for digest in image.graph.blobs:
            for held in self.loading.holdings.with_blob(digest):
                if held.root not in whole:
                    whole[held.root] = self.target.find_id(held.root)
                if whole[held.root]:
                    found.add(digest)
                    break
        return found

    def _tar(self, image: VerifiedImage) -> ImageTar:
        layers = {layer.digest for item in image.graph.manifests for layer in item.manifest.layers}
        tar = ImageTar(
            self.loading.bundle,
            unpack_zstd=not self.info.zstd_layers,
            leave_out=frozenset(self._present(image) & layers),
        )
        chosen = self._chosen(image)
        if self.info.keeps_index:
            tar.add_whole(image, chosen)
        else:
            tar.add_runnable(image, chosen)
        return tar

    def total(self, todo: Sequence[LoadedImage]) -> int:
        return sum(self._size(result.image) for result in todo)

    def _size(self, image: VerifiedImage) -> int:
        blobs = image.graph.contents.values()
        if not self.info.keeps_index:
            blobs = {blob.digest: blob for blob in self._chosen(image).manifest.blobs}.values()
        present = self._present(image)
        return sum(blob.size for blob in blobs if blob.digest not in present)

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        for result in todo:
            try:
                result.after = self._load(result, advance)
            except AirgapError as error:
                result.verdict, result.error = FAILED, error
                with contextlib.suppress(EndpointError):
                    result.after = self.target.find(result.image.name)

    def _load(self, result: LoadedImage, advance: Advance) -> Digest:
        image, wanted = result.image, self._wanted(result.image)
        try:
            self.target.load(self._tar(image).chunks(advance))
            there = self.target.find_id(wanted)
            if image.name.tag:
                confirmed(self.target.find(image.name), wanted, image)
            confirmed(wanted if there else None, wanted, image)
        except BaseException:
            self._put_back(result)
            raise
        chosen = self._chosen(image)
        if not self.info.keeps_index and chosen.config:
            self.chains |= frozenset(chain_ids(chosen.config.diff_ids))
        self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return wanted

    def _put_back(self, result: LoadedImage) -> None:
        """Let the name mean what it meant before."""
        name = result.image.name
        with contextlib.suppress(EndpointError):
            if self.target.find(name) == result.before:
                return
            if result.before is not None:
                self.target.tag(result.before, name)
            else:
                self.target.untag(name)
