"""The content of an artifact that is made here: from the files of this machine and from web servers."""

import io
from collections.abc import Callable
from pathlib import Path

from airgap.endpoints.ports import ContentSource, Source
from airgap.errors import EndpointError, IntegrityError, NotFoundError
from airgap.manifest import LockedFile, LockedImage
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from airgap.online.local_files import open_local
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class FilesSource(ContentSource):
    """The locked files of an artifact, or a chart, as a source of its manifest, its config and its layers."""

    image: LockedImage
    open_web: Callable[[str], Source]
    """Opens the web server of an address."""

    @property
    def name(self) -> str:
        return "files"

    def resolve(self, reference: ImageReference) -> Descriptor:  # noqa: ARG002
        raw = self.image.made_manifest
        return Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:  # noqa: ARG002
        return self.image.made_manifest

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`. Raises `IntegrityError` if a local file has another size than in the lock."""
        if descriptor.digest == Digest.of(self.image.made_config):
            return io.BytesIO(self.image.made_config[offset:])
        locked = self._holder(descriptor.digest)
        if locked.path is not None:
            return self._open_path(locked, locked.path, offset)
        source = self.open_web(locked.url or "")
        if not isinstance(source, ContentSource):
            raise EndpointError("not a web server", subject=locked.url)
        return source.open_blob(reference, descriptor, offset)

    def changed_error(self, blob: Descriptor) -> IntegrityError:
        """Return the error for content that is not what was locked."""
        locked = self._holder(blob.digest)
        of_web = locked.path is None and self.image.chart_config is None
        return IntegrityError(
            "the file is not the one that was locked",
            subject=locked.path or locked.url,
            want=blob.digest,
            hint="compare `sha256:` with what the site states" if of_web else "run `airgap lock` again",
        )

    def _open_path(self, locked: LockedFile, path: Path, offset: int) -> ByteStream:
        stream = open_local(path)
        if stream.size != locked.carried.size:
            stream.close()
            raise self.changed_error(locked.carried.layer)
        stream.seek(offset)
        return stream

    def _holder(self, digest: Digest) -> LockedFile:
        for locked in self.image.files:
            if locked.carried.digest == digest:
                return locked
        raise NotFoundError("no file has this content", subject=digest)
