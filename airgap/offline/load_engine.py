"""Loading into an engine: one stream an image, checked afterwards, old names put back on failure."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from airgap.bundle.graph import CarriedManifest, ImageGraph
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import EngineInfo, IndexTarget, StagingTarget, StreamTarget
from airgap.errors import AirgapError, EndpointError, UnavailableError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor, chain_ids
from airgap.oci.platform import UNKNOWN
from airgap.offline.decompress import SizeClaimError
from airgap.offline.image_tar import ImageTar, runnable
from airgap.offline.load_queue import LoadQueue
from airgap.offline.loader import (
    FAILED,
    LOADED,
    THERE,
    LoadedImage,
    Loading,
    confirmed,
    not_for_engines,
)
from airgap.workers import run_all

MAX_STREAMS = 2
"""Images that are sent at a time: engines unpack each with one core, and share their disk."""

NAMELESS = (
    "it has no name there, as engines keep none for a digest without a tag, and a prune of images "
    "deletes it; `as:` in the manifest gives it a name"
)
"""What is to be known of an entry that is a digest alone."""

_RUNS_TOO = {("amd64", "386"), ("arm64", "arm")}
"""What a machine runs beside its own architecture (containerd/platforms, `Default`)."""


@dataclass(slots=True)
class EngineLoader:
    """A `Loader` over a `StreamTarget`."""

    target: StreamTarget
    loading: Loading
    info: EngineInfo
    chains: frozenset[Digest] | None = None
    """Chain IDs of the layers that a graph driver has (OCI image-spec, config.md#layer-chainid); asked for
    when something is to be sent, as the engine is asked about each of its images.
    """
    keep_packed: set[Digest] = field(default_factory=set)
    """Layers whose gzip trailer does not tell their size."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        if (other := not_for_engines(image)) is not None:
            return other
        before = None
        try:
            before = self.target.find(image.name)
            wanted = self._wanted(image)
            there = (before == wanted or not self._is_named(image)) and self._is_there(image)
        except UnavailableError:
            raise
        except EndpointError as error:
            return LoadedImage(image, FAILED, before, before, error)
        there = there and self._has_names(image)
        if there and self.info.keeps_index:
            self._learn(image)
        if not there and (refusal := self._refusal(image)) is not None:
            return LoadedImage(image, FAILED, before, before, refusal)
        reason = None if self._is_named(image) else NAMELESS
        if there:
            reason = self._difference(image) or reason
        return LoadedImage(
            image, THERE if there else LOADED, before, wanted if there else None, reason=reason
        )

    def _learn(self, image: VerifiedImage) -> None:
        """Remember an image that came here by another way, or in a load that was cut off before it
        could be written down. Proved is what runs on this engine; other platforms may be absent.
        """
        root = self._taken(image).graph.root.digest
        if (image.name, root) not in self.loading.holdings.images:
            blobs = {blob.digest for blob in self._chosen(image).manifest.blobs}
            self.loading.holdings.add(image.name, root, blobs)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        required = self.loading.required & set(self._kept(image))
        lacking = required - self._present(image) if required else required
        return [image.graph.blobs[digest] for digest in sorted(lacking)]

    def _chosen(self, image: VerifiedImage) -> CarriedManifest:
        return runnable(image, self.info.platform)

    def _is_foreign(self, image: VerifiedImage) -> bool:
        """Whether what goes is for a machine that the engine's is not; variants are its own affair."""
        ours, theirs = self.info.platform, self._chosen(image).platform
        if theirs == UNKNOWN or (
            ours.os == theirs.os and (ours.architecture, theirs.architecture) in _RUNS_TOO
        ):
            return False
        return (theirs.os, theirs.architecture) != (ours.os, ours.architecture)

    def _refusal(self, image: VerifiedImage) -> EndpointError | None:
        """Of an index containerd and podman look for their own platform, and without it they fail, in words
        that do not say so. A lone image manifest they take for any platform. A graph driver on Linux takes
        no image whose config names another system.
        """
        chosen, ours = self._chosen(image), self.info.platform
        system = chosen.config.platform.os if chosen.config else ours.os
        if not self.info.keeps_index and ours.os == "linux" and system not in (ours.os, UNKNOWN.os):
            return EndpointError(
                f"this engine takes images for {ours.os} only",
                subject=f"{self.target.name}: {image.name}",
                got=chosen.platform,
                hint="engines with the containerd image store, registries and OCI directories take it",
            )
        is_index = chosen.descriptor.digest != image.record.digest
        if not (self.info.one_platform and is_index and self._is_foreign(image)):
            return None
        return EndpointError(
            "nothing in it for this engine",
            subject=image.name,
            want=ours,
            got=chosen.platform,
            hint=f"pack it for {ours} too; Docker, registries and OCI directories take it as it is",
        )

    def _note_foreign(self, image: VerifiedImage) -> None:
        """Legal, and done on purpose; but whoever did not mean it would see it only when nothing starts."""
        if not self._is_foreign(image):
            return
        ours, theirs = self.info.platform, self._chosen(image).platform
        then = "may need emulation there" if theirs.os == ours.os else "does not run there"
        if theirs.architecture.startswith("wasm"):
            then = "needs a WebAssembly runtime there"
        self.loading.progress.note(
            f"{image.name} is for {theirs}, and {self.target.name} runs {ours}: "
            f"it is loaded all the same, and {then}"
        )

    def _wanted(self, image: VerifiedImage) -> Digest:
        """The ID that the image has in this engine."""
        chosen = self._chosen(image)
        return chosen.manifest.config.digest if self.info.ids_are_configs else image.record.digest

    def _kept(self, image: VerifiedImage) -> dict[Digest, Descriptor]:
        """The configs and layers of the image that the engine keeps."""
        if self.info.keeps_index and not self.info.one_platform:
            return image.graph.blobs
        return {blob.digest: blob for blob in self._chosen(image).manifest.blobs}

    def _is_named(self, image: VerifiedImage) -> bool:
        """Whether the engine keeps the image's name; engines give none to a digest without a tag."""
        return bool(image.name.tag) or isinstance(self.target, StagingTarget)

    def _has_names(self, image: VerifiedImage) -> bool:
        return not isinstance(self.target, StagingTarget) or self.target.is_named(
            self._wanted(image), image.full_name
        )

    def _is_there(self, image: VerifiedImage) -> bool:
        """Whether the engine has it whole, and with the digest that it was signed with, if it keeps such."""
        wanted = self._wanted(image)
        if not self.target.find_id(wanted):
            return False
        if self.info.config_ids:
            return self.target.find_id(self._taken(image).graph.root.digest)
        available = self.target.available(wanted) if isinstance(self.target, IndexTarget) else None
        carried = {item.descriptor.digest for item in image.graph.manifests if item.config}
        return available is None or self.info.one_platform or carried <= available

    def _taken(self, image: VerifiedImage) -> VerifiedImage:
        """The image as the engine can take it. podman fails on an index in an index, also when it pulls one:
        it gets the manifest that it would run.
        """
        chosen, graph = self._chosen(image), image.graph
        if not self.info.config_ids or not graph.is_nested(chosen):
            return image
        document = graph.documents[chosen.descriptor.digest]
        return replace(
            image, graph=ImageGraph(chosen.descriptor, {chosen.descriptor.digest: document}, (chosen,))
        )

    def _difference(self, image: VerifiedImage) -> str | None:
        """What the engine's image has of another than the signed one."""
        taken = self._taken(image)
        if taken is image:
            return None
        return (
            f"{self.target.name} takes no index that is in another index; the name means its "
            f"{self._chosen(image).platform} image there, {taken.graph.root.digest}"
        )

    def _present(self, image: VerifiedImage) -> set[Digest]:
        """The layers of the image that the engine is proved to have.

        A graph driver has a layer on top of those below it, so an image that has one layer twice needs it
        from the stream unless it is there at both places. BuildKit writes the same empty layer for each
        instruction that changes nothing.
        """
        if self.info.keeps_index:
            return self._present_content(image)
        chosen, chains = self._chosen(image), self.chains
        if chains is None:
            chains = self.chains = self._ask_for_chains()
        diff_ids = chosen.config.diff_ids if chosen.config else ()
        links = list(zip(chosen.manifest.layers, chain_ids(diff_ids), strict=True))
        absent = {layer.digest for layer, chain in links if chain not in chains}
        return {layer.digest for layer, _ in links} - absent

    def _ask_for_chains(self) -> frozenset[Digest]:
        """None for an engine that cannot list its images, as while some are removed; unless the bundle leaves
        layers out, for then it must tell.
        """
        try:
            return self.target.layer_chains()
        except UnavailableError:
            raise
        except EndpointError as error:
            if self.loading.required:
                raise
            self.loading.progress.note(
                f"all layers are sent, as the engine does not tell what it has: {error}"
            )
            return frozenset()

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
        image = self._taken(image)
        layers = {layer.digest for item in image.graph.manifests for layer in item.manifest.layers}
        leave_out = frozenset(self._present(image) & layers)
        chosen = self._chosen(image)
        if self.info.keeps_index:
            others = image.graph.blobs.keys() - self._kept(image).keys()
            tar = ImageTar(self.loading.bundle, leave_out=leave_out | others)
            tar.add_whole(image, chosen)
            return tar
        forms = frozenset(("gzip",) if self.info.zstd_layers else ("gzip", "zstd"))
        keep = frozenset(self.keep_packed)
        tar = ImageTar(self.loading.bundle, unpack=forms, keep_packed=keep, leave_out=leave_out)
        tar.add_runnable(image, chosen)
        return tar

    def total(self, todo: Sequence[LoadedImage]) -> int:
        seen: dict[Digest, int] = {}
        for result in todo:
            seen |= self._to_send(result.image)
        return sum(seen.values())

    def _to_send(self, image: VerifiedImage) -> dict[Digest, int]:
        """Digests and sizes of the blobs that the engine is not proved to have."""
        documents = image.graph.documents if self.info.keeps_index else {}
        blobs = self._kept(image) | {digest: blob for digest, (blob, _) in documents.items()}
        present = self._present(image)
        return {digest: blob.size for digest, blob in blobs.items() if digest not in present}

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Several images at a time, largest first; a layer that two of them need is sent once.

        Together they are never larger than the largest: engines copy streams to disk first.
        """
        for result in todo:
            self._note_foreign(result.image)
        work = sorted(
            ((result, self._to_send(result.image)) for result in todo),
            key=lambda item: -sum(item[1].values()),
        )
        queue = LoadQueue([(result, blobs) for result, blobs in work])
        streams = min(self.loading.jobs, MAX_STREAMS)
        try:
            run_all(lambda _: self._work(queue, advance), range(streams), streams)
        except BaseException:  # Ctrl-C comes here, and not to the threads
            for result in todo:
                if result.after is None:
                    self._put_back(result)
            raise
        loaded = any(result.error is None for result in todo)
        if isinstance(self.target, StagingTarget) and self.target.remark and loaded:
            self.loading.progress.note(self.target.remark)

    def _work(self, queue: LoadQueue, advance: Advance) -> None:
        while (result := queue.take()) is not None:
            try:
                self._load_one(result, advance)
            finally:
                queue.done(result)

    def _load_one(self, result: LoadedImage, advance: Advance) -> None:
        try:
            result.after = self._load(result, advance)
        except AirgapError as error:
            result.verdict, result.error = FAILED, error
            with contextlib.suppress(EndpointError):
                result.after = self.target.find(result.image.name)

    def _load(self, result: LoadedImage, advance: Advance) -> Digest:
        image, wanted = result.image, self._wanted(result.image)
        try:
            if isinstance(self.target, StagingTarget):
                if not self._is_there(image):
                    staged = replace(image, renamed=self.target.stage(wanted))
                    self._send(staged, advance)
                    self._confirm(staged)
                self.target.tag(wanted, image.full_name)
            else:
                self._send(image, advance)
            self._confirm(image)
            self._confirm_names(image)
        except BaseException:
            self._put_back(result)
            raise
        chosen = self._chosen(image)
        if not self.info.keeps_index and chosen.config:
            self.chains = (self.chains or frozenset()) | frozenset(chain_ids(chosen.config.diff_ids))
        self.loading.holdings.add(image.name, self._taken(image).graph.root.digest, self._kept(image))
        if (reason := self._difference(image)) is not None:
            result.reason = reason
            self.loading.progress.note(f"{image.name}: {reason}")
        return wanted

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        image = result.image
        if not self._is_named(image):
            return wanted if self.target.find_id(wanted) else None
        named = self._has_names(image)
        if named and isinstance(self.target, StagingTarget):
            return wanted
        found = self.target.find(image.name)
        return found if named or found != wanted else None

    def _confirm(self, image: VerifiedImage) -> None:
        wanted = self._wanted(image)
        there = self._is_there(image)
        if self._is_named(image):
            confirmed(self.target.find(image.name), wanted, image)
        confirmed(wanted if there else None, wanted, image)

    def _confirm_names(self, image: VerifiedImage) -> None:
        if not self._has_names(image):
            raise EndpointError("the target has not taken all names", subject=image.name)

    def _send(self, image: VerifiedImage, advance: Advance) -> None:
        """Again, with more of it, when layers that were left out have gone from the engine meanwhile."""
        present = self._present(image)
        try:
            self.target.load(self._tar(image).chunks(advance))
        except SizeClaimError as error:
            self.keep_packed.add(error.layer)
            self._send(image, advance)
        except UnavailableError:
            raise
        except EndpointError:
            self.chains = None
            if not present - self._present(image):
                raise
            self._send(image, advance)

    def _put_back(self, result: LoadedImage) -> None:
        """Let the name mean what it meant before."""
        name = result.image.name
        with contextlib.suppress(EndpointError):
            if self.target.find(name) == result.before:
                return
            if result.before is not None:
                self.target.tag(result.before, name)
            else:
                self.target.untag(result.image.full_name)
