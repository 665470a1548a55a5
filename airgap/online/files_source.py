"""The content of an artifact of files: from the files of this machine and from web servers."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.endpoints.ports import ContentSource, Source
from airgap.errors import EndpointError, IntegrityError, NotFoundError
from airgap.manifest import LockedFile
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.files_artifact import EMPTY_CONFIG, artifact_descriptor, artifact_manifest
from airgap.oci.reference import ImageReference
from airgap.online.local_files import open_local


@dataclass(frozen=True, slots=True)
class FilesSource(ContentSource):
    """The locked files of one artifact, as a source of its manifest, its config and its layers."""

    files: Sequence[LockedFile]
    open_web: Callable[[str], Source]
    """Opens the web server of an address."""

    @property
    def name(self) -> str:
        return "files"

    def resolve(self, reference: ImageReference) -> Descriptor:  # noqa: ARG002
        return artifact_descriptor([locked.carried for locked in self.files])

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:  # noqa: ARG002
        return artifact_manifest([locked.carried for locked in self.files])

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`. Raises `IntegrityError` if a local file has another size than in the lock."""
        if descriptor.digest == Digest.of(EMPTY_CONFIG):
            return io.BytesIO(EMPTY_CONFIG[offset:])
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
        return IntegrityError(
            "the file is not the one that was locked",
            subject=locked.path or locked.url,
            want=blob.digest,
            hint="run `airgap lock` again" if locked.path else "compare `sha256:` with what the site states",
        )

    def _open_path(self, locked: LockedFile, path: Path, offset: int) -> ByteStream:
        stream = open_local(path)
        if stream.size != locked.carried.size:
            stream.close()
            raise self.changed_error(locked.carried.layer)
        stream.seek(offset)
        return stream

    def _holder(self, digest: Digest) -> LockedFile:
        for locked in self.files:
            if locked.carried.digest == digest:
                return locked
        raise NotFoundError("no file has this content", subject=digest)
