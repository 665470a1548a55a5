"""Load into a folder of archives, one for each image. Archives that are already correct stay unchanged."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import Files
from airgap.bundle.graph import PREFERRED, ImageGraph
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import FolderTarget
from airgap.errors import AirgapError
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Advance, CheckedReader, Digest, copy
from airgap.oci.documents import Descriptor
from airgap.offline.image_tar import ImageTar
from airgap.offline.loader import FAILED, LOADED, PLACED, THERE, LoadedImage, Loading, not_for_engines
from airgap.offline.reduced import described, reduced
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class FolderLoader:
    """A `Loader` over a `FolderTarget`."""

    target: FolderTarget
    loading: Loading

    def look(self, image: VerifiedImage) -> LoadedImage:
        if (other := not_for_engines(image)) is not None:
            return other
        graph = self._graph(image)
        before, whole = self._found(image, graph)
        present = whole and before == graph.root.digest
        return LoadedImage(
            image,
            THERE if present else LOADED,
            before=before,
            after=before if present else None,
            reason=self._reason(graph, image),
        )

    def _found(self, image: VerifiedImage, graph: ImageGraph) -> tuple[Digest | None, bool]:
        """Return the digest that the name has in the existing archive, and whether the archive has all of
        `graph`, unchanged. A file that cannot be read counts as absent.
        """
        before = None
        with contextlib.suppress(AirgapError), self.target.open_archive(image.name) as files:
            before, *others = _meanings(files, image, graph.root.digest)
            if before is None or any(digest != before for digest in others):
                return before, False
            for blob in graph.contents.values():
                _check(files, blob)
            return before, True
        return before, False

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        with self.target.open_archive(result.image.name) as files:
            digests = _meanings(files, result.image, wanted)
        return next((digest for digest in digests if digest != wanted), wanted)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        """Return all left-out blobs: each archive is self-contained, so it has no base."""
        blobs = self._graph(image).blobs
        return [blob for digest, blob in blobs.items() if digest in self.loading.required]

    def total(self, todo: Sequence[LoadedImage]) -> int:
        return sum(blob.size for result in todo for blob in self._graph(result.image).contents.values())

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        for result in todo:
            try:
                result.after = self._load(result.image, advance)
                result.verdict = PLACED
            except AirgapError as error:
                result.verdict, result.error, result.after = FAILED, error, result.before
        if any(result.verdict == PLACED for result in todo):
            self.loading.progress.note(self.target.hint)

    def _load(self, image: VerifiedImage, advance: Advance) -> Digest:
        graph = self._graph(image)
        if (reason := self._reason(graph, image)) is not None:
            self.loading.progress.note(f"{image.name}: {reason}")
        tar = ImageTar(self.loading.bundle)
        runnables = [item for item in graph.manifests if item.config]
        tar.add_whole(replace(image, graph=graph), graph.for_platform(PREFERRED) or runnables[0])
        tar.images = [
            replace(image, graph=graph, renamed=name) for name in image.full_name.names_of(graph.root.digest)
        ]
        self.target.put_archive(image.name, tar.chunks(advance))
        return graph.root.digest

    def _graph(self, image: VerifiedImage) -> ImageGraph:
        """Return the image for the archive: whole, or reduced where readers need a complete index."""
        if self.target.takes_sparse or not image.graph.is_sparse:
            return image.graph
        return reduced(image.graph) or image.graph

    def _reason(self, graph: ImageGraph, image: VerifiedImage) -> str | None:
        if graph.root.digest == image.record.digest:
            return None
        return (
            f"{self.target.name} does not accept an index that lacks platforms; "
            f"the name refers to {described(graph)}, {graph.root.digest}"
        )


def _meanings(files: Files, image: VerifiedImage, root: Digest) -> list[Digest | None]:
    """Return the digests that an image's names have in an archive, if the image's own digest is `root`."""
    index = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES))
    entries = [index.get(name) for name in image.full_name.names_of(root)]
    return [None if entry is None else entry.digest for entry in entries]


def _check(files: Files, blob: Descriptor) -> None:
    """Read the whole blob. Raises `IntegrityError` if its content is wrong."""
    with contextlib.closing(files.open(blob.digest.path)) as stream:
        reader = CheckedReader(stream, blob.digest, blob.size, files.where(blob.digest.path))
        copy(reader, lambda _: None)
