"""Load into an engine: one stream for each image, checked afterwards. If an image fails, its name is given
back to the image that had it before.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.naming import temporary_name
from airgap.endpoints.ports import EngineTarget, StagingTarget
from airgap.errors import AirgapError, EndpointError, UnavailableError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.decompress import SizeClaimError
from airgap.offline.engine_image import EngineImage
from airgap.offline.image_tar import ImageTar
from airgap.offline.load_queue import MAX_STREAMS, LoadQueue
from airgap.offline.loader import FAILED, LOADED, THERE, LoadedImage, Loading, confirm_digest, not_for_engines
from airgap.progress import Wait
from airgap.workers import run_all

NAMELESS = (
    "it has no name in the engine, because engines do not name an image by its digest alone, so pruning "
    "images deletes it; give it a name with `as:` in the manifest"
)
"""The reason in the result of an image whose name has a digest and no tag."""


@dataclass(slots=True)
class EngineLoader:
    """A `Loader` over an `EngineTarget`."""

    target: EngineTarget
    loading: Loading
    images: dict[ImageReference, EngineImage] = field(default_factory=dict)
    """The images as the engine gets them, by name."""
    chains: frozenset[Digest] | None = None
    """The chain IDs of the layers that a graph driver has (OCI image-spec, config.md#layer-chainid). They are
    requested only before sending, because that takes one request for each image in the engine.
    """
    keep_packed: set[Digest] = field(default_factory=set)
    """Layers whose gzip trailer claims a wrong size."""
    planned: dict[ImageReference, dict[Digest, int]] = field(default_factory=dict)
    """The blobs that each image lacks at the engine before the first one is sent, by the image's name."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        if (other := not_for_engines(image)) is not None:
            return other
        ours, before = self._ours(image), None
        try:
            before = self.target.find(image.name)
            present = (before == ours.image_id or not self._is_named(image)) and self._is_there(ours)
        except UnavailableError:
            raise
        except EndpointError as error:
            return LoadedImage(image, FAILED, before=before, after=before, error=error)
        present = present and self._has_names(ours)
        if present and ours.info.keeps_index:
            self._learn(ours)
        if not present and (refusal := ours.refusal) is not None:
            return LoadedImage(image, FAILED, before=before, after=before, error=refusal)
        reason = None if self._is_named(image) else NAMELESS
        if present:
            reason = ours.difference or reason
        return LoadedImage(
            image,
            THERE if present else LOADED,
            before=before,
            after=ours.image_id if present else None,
            reason=reason,
        )

    def _ours(self, image: VerifiedImage) -> EngineImage:
        if image.name not in self.images:
            self.images[image.name] = EngineImage(image, self.target.info(), self.target.name)
        return self.images[image.name]

    def _learn(self, ours: EngineImage) -> None:
        """Add an image to the holdings that was loaded by another tool, or by a load that was killed before
        it saved them. Only the engine's own platform is proved; other platforms may be absent.
        """
        if (ours.image.name, ours.root) not in self.loading.holdings.images:
            blobs = {blob.digest for blob in ours.chosen.manifest.blobs}
            self.loading.holdings.add(ours.image.name, ours.root, blobs)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        ours = self._ours(image)
        required = self.loading.required & set(ours.kept)
        lacking = required - self._present(ours) if required else required
        return [image.graph.blobs[digest] for digest in sorted(lacking)]

    def _is_named(self, image: VerifiedImage) -> bool:
        """Return whether the engine keeps the image's name: most do not if it has a digest and no tag."""
        return bool(image.name.tag) or isinstance(self.target, StagingTarget)

    def _has_names(self, ours: EngineImage) -> bool:
        return self.target.is_named(ours.image_id, ours.image.full_name)

    def _is_there(self, ours: EngineImage) -> bool:
        """Return whether the engine has the whole image and, if it keeps digests, with the signed digest."""
        manifests = ours.image.graph.manifests if not ours.info.one_platform else ()
        carried = {item.descriptor.digest for item in manifests if item.config}
        if not self.target.find_id(ours.image_id, carried):
            return False
        return not ours.info.config_ids or self.target.find_id(ours.root)

    def _present(self, ours: EngineImage) -> set[Digest]:
        """Return the layers of the image that the engine is proved to have.

        A graph driver stores a layer on top of those below it. So a layer that an image has twice is sent
        unless the engine has it in both positions. This is common: BuildKit writes the same empty layer for
        each instruction that changes nothing.
        """
        if ours.info.keeps_index:
            return self._present_content(ours)
        chains = self.chains
        if chains is None:
            chains = self.chains = self._ask_for_chains()
        links = list(zip(ours.chosen.manifest.layers, ours.chains, strict=True))
        absent = {layer.digest for layer, chain in links if chain not in chains}
        return {layer.digest for layer, _ in links} - absent

    def _ask_for_chains(self) -> frozenset[Digest]:
        """Return the engine's chain IDs; an empty set if it cannot list its images, for instance while some
        are being removed. If the bundle leaves layers out, raises `EndpointError` instead.
        """
        try:
            return self.target.layer_chains()
        except UnavailableError:
            raise
        except EndpointError as error:
            if self.loading.required:
                raise
            self.loading.progress.note(
                f"all layers are sent, because the engine cannot list what it has: {error}"
            )
            return frozenset()

    def _present_content(self, ours: EngineImage) -> set[Digest]:
        """Return the blobs of those images in the holdings that the engine still has completely. Those that
        have most of the blobs are looked up first, and only as many as are needed.
        """
        found: set[Digest] = set()
        wanted = ours.image.graph.blobs.keys()
        for held in self.loading.holdings.with_any(wanted):
            if (more := (held.blobs & wanted) - found) and self.target.find_id(held.root):
                found |= more
        return found

    def _tar(self, ours: EngineImage, present: set[Digest]) -> ImageTar:
        sent, info = ours.sent, ours.info
        layers = {layer.digest for item in sent.graph.manifests for layer in item.manifest.layers}
        leave_out = frozenset(present & layers)
        if info.keeps_index:
            others = sent.graph.blobs.keys() - ours.kept.keys()
            tar = ImageTar(self.loading.bundle, leave_out=leave_out | others)
            tar.add_whole(sent, ours.chosen)
            return tar
        forms = frozenset(("gzip",) if info.zstd_layers else ("gzip", "zstd"))
        keep = frozenset(self.keep_packed)
        tar = ImageTar(self.loading.bundle, unpack=forms, keep_packed=keep, leave_out=leave_out)
        tar.add_runnable(sent, ours.chosen)
        return tar

    def total(self, todo: Sequence[LoadedImage]) -> int:
        seen: dict[Digest, int] = {}
        for result in todo:
            seen |= self._to_send(self._ours(result.image))
        return sum(seen.values())

    def _to_send(self, ours: EngineImage) -> dict[Digest, int]:
        """Return digests and sizes of the blobs that the engine is not proved to have before the first image
        is sent.
        """
        if ours.image.name not in self.planned:
            self.planned[ours.image.name] = self._plan(ours)
        return self.planned[ours.image.name]

    def _plan(self, ours: EngineImage) -> dict[Digest, int]:
        documents = ours.image.graph.documents if ours.info.keeps_index else {}
        blobs = ours.kept | {digest: blob for digest, (blob, _) in documents.items()}
        present = self._present(ours)
        return {digest: blob.size for digest, blob in blobs.items() if digest not in present}

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Load several images at the same time, in the order of `LoadQueue`; a layer that two of them need is
        sent once.
        """
        try:
            self._run(todo, self._load, advance)
        except BaseException:  # only the main thread receives Ctrl-C
            for result in todo:
                if result.after is None:
                    self._put_back(result)
            raise
        self._note_remark(todo)

    def load_content(self, todo: Sequence[LoadedImage], advance: Advance) -> Sequence[LoadedImage]:
        self._run(todo, self._bring, advance)
        return todo

    def _run(
        self, todo: Sequence[LoadedImage], load: Callable[[LoadedImage, Advance], Digest], advance: Advance
    ) -> None:
        work = []
        for result in todo:
            ours = self._ours(result.image)
            if (note := ours.foreign_note) is not None:
                self.loading.progress.note(note)
            work.append((result, self._to_send(ours)))
        queue = LoadQueue(work)
        streams = min(self.loading.jobs, MAX_STREAMS)
        run_all(lambda _: self._work(queue, load, advance), range(streams), streams)

    def _note_remark(self, todo: Sequence[LoadedImage]) -> None:
        if self.target.remark and any(result.error is None for result in todo):
            self.loading.progress.note(self.target.remark)

    def _work(
        self, queue: LoadQueue, load: Callable[[LoadedImage, Advance], Digest], advance: Advance
    ) -> None:
        while (result := queue.take()) is not None:
            loaded = False
            try:
                result.after = load(result, advance)
                loaded = True
            except AirgapError as error:
                result.verdict, result.error = FAILED, error
                with contextlib.suppress(EndpointError):
                    result.after = self.target.find(result.image.name)
            finally:
                queue.done(result, loaded=loaded)

    def _load(self, result: LoadedImage, advance: Advance) -> Digest:
        try:
            if isinstance(self.target, StagingTarget):
                self._bring(result, advance)
                return self.give_name(result)
            self._send(self._ours(result.image), advance)
            return self._confirm_all(result)
        except BaseException:
            self._put_back(result)
            raise

    def _bring(self, result: LoadedImage, advance: Advance) -> Digest:
        """Send the image under a temporary name, and check it; its own name stays as it was."""
        ours = self._ours(result.image)
        if not self._is_there(ours):
            image = result.image
            temporary = self._temporary(ours)
            staged = replace(ours, image=replace(image, renamed=temporary)) if temporary else ours
            self._send(staged, advance)
            self._confirm(staged)
        self._learn_chains(ours)
        return ours.image_id

    def _temporary(self, ours: EngineImage) -> ImageReference | None:
        """Return the temporary name of an image; None for one that has no name in this engine."""
        if isinstance(self.target, StagingTarget):
            return self.target.stage(ours.image_id)
        return temporary_name(ours.image_id) if ours.image.name.tag else None

    def all_names(self) -> contextlib.AbstractContextManager[None]:
        """Each name moves by itself."""
        return contextlib.nullcontext()

    def give_name(self, result: LoadedImage) -> Digest:
        ours, image = self._ours(result.image), result.image
        if self._is_named(image):
            self.target.tag(ours.image_id, image.full_name)
        return self._confirm_all(result)

    def take_back(self, result: LoadedImage) -> None:
        if self._is_named(result.image):
            self._put_back(result)

    def drop_temporary(self, todo: Sequence[LoadedImage]) -> None:
        """Remove the temporary names. containerd's are removed by `sweep`."""
        for result in todo if not isinstance(self.target, StagingTarget) else ():
            with contextlib.suppress(EndpointError):
                if (name := self._temporary(self._ours(result.image))) is not None:
                    self.target.untag(name)
        self._note_remark(todo)

    def _learn_chains(self, ours: EngineImage) -> None:
        if not ours.info.keeps_index:
            self.chains = (self.chains or frozenset()) | frozenset(ours.chains)

    def _confirm_all(self, result: LoadedImage) -> Digest:
        """Check that the image is there under its names, and keep what was learned; return its ID."""
        ours, image = self._ours(result.image), result.image
        self._confirm(ours)
        self._confirm_names(ours)
        self._learn_chains(ours)
        self.loading.holdings.add(image.name, ours.root, ours.kept)
        if (reason := ours.difference) is not None:
            result.reason = reason
            self.loading.progress.note(f"{image.name}: {reason}")
        return ours.image_id

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        image = result.image
        if not self._is_named(image):
            return wanted if self.target.find_id(wanted) else None
        named = self._has_names(self._ours(image))
        if named and isinstance(self.target, StagingTarget):
            return wanted
        current = self.target.find(image.name)
        return current if named or current != wanted else None

    def _confirm(self, ours: EngineImage) -> None:
        wanted, image = ours.image_id, ours.image
        present = self._is_there(ours)
        if self._is_named(image):
            confirm_digest(self.target.find(image.name), wanted, image)
        confirm_digest(wanted if present else None, wanted, image)

    def _confirm_names(self, ours: EngineImage) -> None:
        if not self._has_names(ours):
            raise EndpointError("the target did not store all names", subject=ours.image.name)

    def _send(self, ours: EngineImage, advance: Advance) -> None:
        """Send the image. If the engine has lost layers that were left out, send it again with them."""
        present = self._present(ours)
        try:
            text = f"{self.target.name} has received {ours.image.record.name} and is unpacking it"
            with Wait(self.loading.progress, text) as wait:
                self.target.load(wait.then_wait(self._tar(ours, present).chunks(advance)))
        except SizeClaimError as error:
            self.keep_packed.add(error.layer)
            self._send(ours, advance)
        except UnavailableError:
            raise
        except EndpointError:
            self.chains = None
            if not present - self._present(ours):
                raise
            self._send(ours, advance)

    def _put_back(self, result: LoadedImage) -> None:
        """Give the name back to the image that had it before, or remove it if there was none."""
        name = result.image.name
        with contextlib.suppress(EndpointError):
            if self.target.find(name) == result.before:
                return
            if result.before is not None:
                self.target.tag(result.before, name)
            else:
                self.target.untag(result.image.full_name)
