"""Load into an engine: one stream for each image, checked afterwards. Failed images get their old names."""

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from airgap.bundle.graph import CarriedManifest
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import EngineInfo, EngineTarget, StagingTarget
from airgap.errors import AirgapError, EndpointError, UnavailableError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor, chain_ids
from airgap.oci.platform import UNKNOWN
from airgap.offline.decompress import SizeClaimError
from airgap.offline.image_tar import ImageTar, runnable
from airgap.offline.loader import FAILED, LOADED, THERE, LoadedImage, Loading, confirm_digest, not_for_engines
from airgap.offline.reduced import only
from airgap.workers import run_all

MAX_STREAMS = 2
"""Images that are sent at a time: an engine unpacks each with one core, and its disk is shared."""

NAMELESS = (
    "it has no name in the engine, as engines name no image by its digest alone, so pruning images "
    "deletes it; give it a name with `as:` in the manifest"
)
"""The reason in the result of an image whose entry is a digest without a tag."""

_RUNS_TOO = {("amd64", "386"), ("arm64", "arm")}
"""Pairs of a machine's architecture and another one that it also runs (containerd/platforms, `Default`)."""


class LoadQueue:
    """Hands out images so that no blob is sent twice at a time, and the images in progress are together no
    larger than the largest image. `images` gives the digests and sizes of the blobs to send.
    """

    def __init__(self, images: Sequence[tuple[LoadedImage, dict[Digest, int]]]) -> None:
        self._waiting = list(images)
        self._under_way: dict[int, dict[Digest, int]] = {}
        self._limit = max((sum(blobs.values()) for _, blobs in images), default=0)
        self._changed = threading.Condition()

    def take(self) -> LoadedImage | None:
        """Wait for the next image that may be sent and return it; None when no image is left."""
        with self._changed:
            while self._waiting:
                for index, (result, blobs) in enumerate(self._waiting):
                    if self._fits(blobs):
                        del self._waiting[index]
                        self._under_way[id(result)] = blobs
                        return result
                self._changed.wait()
            return None

    def _fits(self, blobs: dict[Digest, int]) -> bool:
        used = sum(sum(others.values()) for others in self._under_way.values())
        if self._under_way and used + sum(blobs.values()) > self._limit:
            return False
        return not any(blobs.keys() & others.keys() for others in self._under_way.values())

    def done(self, result: LoadedImage) -> None:
        """Report that an image from `take` was loaded or failed."""
        with self._changed:
            del self._under_way[id(result)]
            self._changed.notify_all()


@dataclass(slots=True)
class EngineLoader:
    """A `Loader` over a `EngineTarget`."""

    target: EngineTarget
    loading: Loading
    info: EngineInfo
    chains: frozenset[Digest] | None = None
    """Chain IDs of the layers that a graph driver has (OCI image-spec, config.md#layer-chainid). Requested
    only before sending, as that takes a request for each image of the engine.
    """
    keep_packed: set[Digest] = field(default_factory=set)
    """Layers whose gzip trailer claims a wrong size."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        if (other := not_for_engines(image)) is not None:
            return other
        before = None
        try:
            before = self.target.find(image.name)
            wanted = self._wanted(image)
            present = (before == wanted or not self._is_named(image)) and self._is_there(image)
        except UnavailableError:
            raise
        except EndpointError as error:
            return LoadedImage(image, FAILED, before=before, after=before, error=error)
        present = present and self._has_names(image)
        if present and self.info.keeps_index:
            self._learn(image)
        if not present and (refusal := self._refusal(image)) is not None:
            return LoadedImage(image, FAILED, before=before, after=before, error=refusal)
        reason = None if self._is_named(image) else NAMELESS
        if present:
            reason = self._difference(image) or reason
        return LoadedImage(
            image,
            THERE if present else LOADED,
            before=before,
            after=wanted if present else None,
            reason=reason,
        )

    def _learn(self, image: VerifiedImage) -> None:
        """Add an image to the holdings that another tool loaded, or a load that was killed before it saved
        them. Only the engine's own platform is proved; other platforms may be absent.
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
        """Return whether the chosen manifest is for another machine than the engine's; ignore variants."""
        ours, theirs = self.info.platform, self._chosen(image).platform
        if theirs == UNKNOWN or (
            ours.os == theirs.os and (ours.architecture, theirs.architecture) in _RUNS_TOO
        ):
            return False
        return (theirs.os, theirs.architecture) != (ours.os, ours.architecture)

    def _refusal(self, image: VerifiedImage) -> EndpointError | None:
        """Return the error for an image that this engine would refuse; its own message is unclear.

        containerd and podman need their own platform in an index; a lone image manifest they take for any
        platform. A graph driver on Linux takes no image whose config names another operating system.
        """
        chosen, ours = self._chosen(image), self.info.platform
        system = chosen.config.platform.os if chosen.config else ours.os
        if not self.info.keeps_index and ours.os == "linux" and system not in (ours.os, UNKNOWN.os):
            return EndpointError(
                f"this engine takes images for {ours.os} only",
                subject=f"{self.target.name}: {image.name}",
                got=chosen.platform,
                hint="load it into an engine with the containerd image store, a registry or an OCI directory",
            )
        is_index = chosen.descriptor.digest != image.record.digest
        if not (self.info.one_platform and is_index and self._is_foreign(image)):
            return None
        return EndpointError(
            "the image has no platform for this engine",
            subject=image.name,
            want=ours,
            got=chosen.platform,
            hint=f"pack it for {ours} too, or load it into Docker, a registry or an OCI directory",
        )

    def _note_foreign(self, image: VerifiedImage) -> None:
        """Note an image for another machine. It is allowed, but a mistake shows only at the first start."""
        if not self._is_foreign(image):
            return
        ours, theirs = self.info.platform, self._chosen(image).platform
        then = "may need emulation" if theirs.os == ours.os else "does not run there"
        if theirs.architecture.startswith("wasm"):
            then = "needs a WebAssembly runtime"
        self.loading.progress.note(
            f"{image.name} is for {theirs}, but {self.target.name} runs {ours}: "
            f"the image is loaded, but {then}"
        )

    def _wanted(self, image: VerifiedImage) -> Digest:
        """Return the ID that the image gets in this engine."""
        chosen = self._chosen(image)
        return chosen.manifest.config.digest if self.info.ids_are_configs else image.record.digest

    def _kept(self, image: VerifiedImage) -> dict[Digest, Descriptor]:
        """Return the configs and layers of the image that the engine keeps."""
        if self.info.keeps_index and not self.info.one_platform:
            return image.graph.blobs
        return {blob.digest: blob for blob in self._chosen(image).manifest.blobs}

    def _is_named(self, image: VerifiedImage) -> bool:
        """Return whether the engine keeps the image's name: most keep none for a digest without a tag."""
        return bool(image.name.tag) or isinstance(self.target, StagingTarget)

    def _has_names(self, image: VerifiedImage) -> bool:
        return self.target.is_named(self._wanted(image), image.full_name)

    def _is_there(self, image: VerifiedImage) -> bool:
        """Return whether the engine has the whole image, and with its signed digest, if it keeps digests."""
        wanted = self._wanted(image)
        if not self.target.find_id(wanted):
            return False
        if self.info.config_ids:
            return self.target.find_id(self._taken(image).graph.root.digest)
        available = self.target.available(wanted)
        carried = {item.descriptor.digest for item in image.graph.manifests if item.config}
        return available is None or self.info.one_platform or carried <= available

    def _taken(self, image: VerifiedImage) -> VerifiedImage:
        """Return the image in the form that the engine accepts. podman fails on an index in an index, even
        when pulling, so it gets the manifest that it would run.
        """
        chosen, graph = self._chosen(image), image.graph
        if not self.info.config_ids or not graph.is_nested(chosen):
            return image
        return replace(image, graph=only(chosen, graph))

    def _difference(self, image: VerifiedImage) -> str | None:
        """Return how the engine's image differs from the signed one, or None."""
        taken = self._taken(image)
        if taken is image:
            return None
        return (
            f"{self.target.name} does not take an index inside an index; the name means the "
            f"{self._chosen(image).platform} image, {taken.graph.root.digest}"
        )

    def _present(self, image: VerifiedImage) -> set[Digest]:
        """Return the layers of the image that the engine is proved to have.

        A graph driver stores a layer on top of those below it. So a layer that an image has twice is sent
        unless the engine has it in both positions. BuildKit writes the same empty layer for each
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
        """Return the engine's chain IDs; an empty set when it cannot list its images, as while some are being
        removed. Raises `EndpointError` instead when the bundle leaves layers out.
        """
        try:
            return self.target.layer_chains()
        except UnavailableError:
            raise
        except EndpointError as error:
            if self.loading.required:
                raise
            self.loading.progress.note(
                f"all layers are sent, as the engine does not list what it has: {error}"
            )
            return frozenset()

    def _present_content(self, image: VerifiedImage) -> set[Digest]:
        """Return the blobs of images in the holdings that the engine still has whole."""
        is_whole = cache(self.target.find_id)
        with_blob = self.loading.holdings.with_blob
        return {
            digest for digest in image.graph.blobs if any(is_whole(held.root) for held in with_blob(digest))
        }

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
        """Return digests and sizes of the blobs that the engine is not proved to have."""
        documents = image.graph.documents if self.info.keeps_index else {}
        blobs = self._kept(image) | {digest: blob for digest, (blob, _) in documents.items()}
        present = self._present(image)
        return {digest: blob.size for digest, blob in blobs.items() if digest not in present}

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Load several images at a time, largest first; a layer that two of them need is sent once.

        Images in progress are together never larger than the largest one: engines copy streams to disk first.
        """
        for result in todo:
            self._note_foreign(result.image)
        work = [(result, self._to_send(result.image)) for result in todo]
        queue = LoadQueue(sorted(work, key=lambda item: -sum(item[1].values())))
        streams = min(self.loading.jobs, MAX_STREAMS)
        try:
            run_all(lambda _: self._work(queue, advance), range(streams), streams)
        except BaseException:  # only the main thread receives Ctrl-C
            for result in todo:
                if result.after is None:
                    self._put_back(result)
            raise
        loaded = any(result.error is None for result in todo)
        if self.target.remark and loaded:
            self.loading.progress.note(self.target.remark)

    def _work(self, queue: LoadQueue, advance: Advance) -> None:
        while (result := queue.take()) is not None:
            try:
                result.after = self._load(result, advance)
            except AirgapError as error:
                result.verdict, result.error = FAILED, error
                with contextlib.suppress(EndpointError):
                    result.after = self.target.find(result.image.name)
            finally:
                queue.done(result)

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
        present = self._is_there(image)
        if self._is_named(image):
            confirm_digest(self.target.find(image.name), wanted, image)
        confirm_digest(wanted if present else None, wanted, image)

    def _confirm_names(self, image: VerifiedImage) -> None:
        if not self._has_names(image):
            raise EndpointError("the target did not store all names", subject=image.name)

    def _send(self, image: VerifiedImage, advance: Advance) -> None:
        """Send the image; send it again, with more layers, when the engine lost layers that were left out."""
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
        """Give the name its old meaning back."""
        name = result.image.name
        with contextlib.suppress(EndpointError):
            if self.target.find(name) == result.before:
                return
            if result.before is not None:
                self.target.tag(result.before, name)
            else:
                self.target.untag(result.image.full_name)
