"""A registry that speaks the OCI distribution-spec 1.1, as source and as target."""

from collections.abc import Callable, Iterator, Sequence

from airgap.endpoints.attachments import Attachments, AttachmentSource
from airgap.endpoints.listing import TagListSource
from airgap.endpoints.ports import ContentSource, PresentImage, RegistryTarget
from airgap.endpoints.registry.attachments import AttachmentFinder
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.mirrors import MirroredPuller, open_mirror
from airgap.endpoints.registry.pull import Puller
from airgap.endpoints.registry.push import Pusher
from airgap.endpoints.registry.referrers import ReferrerPusher, RegistryLists
from airgap.endpoints.registry.request import PUSH
from airgap.endpoints.registry.session import RegistrySession
from airgap.errors import NotFoundError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference, reference_in


class Registry(ContentSource, AttachmentSource, TagListSource, RegistryTarget):
    """One registry host and its mirrors; safe for several threads. It asks `host`, regardless of the registry
    that a reference names.

    Raises `EndpointError` and its children, and `DigestMismatchError` if the registry itself reports another
    digest than the one requested. `UnavailableError` is raised after the tries that `options` allow.
    """

    def __init__(self, host: str, *, options: RegistryOptions | None = None) -> None:
        options = options or RegistryOptions()
        session = RegistrySession(host, options)
        self._host, self._prefix = host, options.prefix
        self._name = "/".join(filter(None, (f"registry:{host}", options.prefix)))
        self._home = Puller(session)
        mirrors = [open_mirror(text, options) for text in options.mirrors]
        self._source: Puller | MirroredPuller = self._home
        if mirrors:
            self._source = MirroredPuller(self._home, mirrors)
        self._pusher = Pusher(session)
        self._lists = RegistryLists(session)
        self._referrers = ReferrerPusher(self._lists, self._pusher)
        self._finder = AttachmentFinder(self._home, self._lists)
        self._mirror_finders = [AttachmentFinder(mirror, RegistryLists(mirror.session)) for mirror in mirrors]

    @property
    def name(self) -> str:
        return self._name

    def resolve(self, reference: ImageReference) -> Descriptor:
        """See `ContentSource`. The digest of a tag is only the registry's claim until the bytes are read."""
        return self._source.resolve(reference)

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        return self._source.read_document(reference, descriptor)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`. The stream resumes after temporary failures, wherever they happen."""
        return self._source.open_blob(reference, descriptor, offset)

    def referrers(self, reference: ImageReference, digest: Digest) -> list[Descriptor]:
        """Return the image manifests and indexes in the repository of `reference` whose subject is `digest`,
        at most 1,000, with artifact type and annotations as the registry reports them.

        Mirrors are not asked: many do not support referrers, and answer that there are none.
        """
        return self._lists.referrers(reference, digest)

    def attachments(
        self,
        reference: ImageReference,
        subjects: Sequence[Digest],
        also: Sequence[Digest] = (),
        *,
        thorough: bool = False,
    ) -> Attachments:
        """See `AttachmentSource`. Mirrors are asked only if the registry itself cannot be reached; what they
        do not list then stays unknown.
        """
        answer = self._finder.find(reference, subjects, also, thorough=thorough)
        if self._finder.reachable:
            return answer
        answers = [
            finder.find(reference, subjects, also, thorough=thorough) for finder in self._mirror_finders
        ]
        known = dict.fromkeys(item for others in (*answers, answer) for item in others.found)
        return Attachments(tuple(known), answer.unknown)

    def tags(self, reference: ImageReference) -> list[str]:
        """See `TagListSource`. Mirrors are not asked: a cache lists only what was pulled through it."""
        return self._lists.tags(reference)

    def present(self) -> Iterator[PresentImage]:
        """Ask the catalogue and the tags of every repository, below the prefix."""
        prefix = f"{self._prefix}/" if self._prefix else ""
        for repository in self._lists.catalogue():
            if not repository.startswith(prefix):
                continue
            inner = repository.removeprefix(prefix)
            named = reference_in(f"{self._host}/{inner}")
            for tag in self._lists.tags(named) if named is not None else ():
                name = reference_in(f"{named.name}:{tag}") if named is not None else None
                digest = None if name is None else self.find(name)
                yield PresentImage(name, f"{repository}:{tag}", digest)
            if named is None:
                yield PresentImage(None, repository, None)

    def find(self, reference: ImageReference) -> Digest | None:
        try:
            return self._home.describe(reference, reference.tag or reference.digest, PUSH).digest
        except NotFoundError:
            return None

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """See `ContentTarget`. A blob that is found is remembered, to mount it into other repositories."""
        return self._pusher.holds(reference, descriptor)

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """See `ContentTarget`. Content that the repository already has is sent again; a blob that this object
        has found in another repository is mounted, and then `stream` is not read.
        """
        self._pusher.put_blob(reference, descriptor, stream)

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        return self._pusher.mount(reference, descriptor, source)

    def upload(
        self, reference: ImageReference, descriptor: Descriptor, open_at: Callable[[int], ByteStream]
    ) -> None:
        """See `ContentTarget`. Otherwise as `put_blob`."""
        self._pusher.upload(reference, descriptor, open_at)

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        self._pusher.put(reference, descriptor.digest, descriptor, raw)

    def put_referrer(
        self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes
    ) -> None:
        self._referrers.put(reference, subject, descriptor, raw)

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """See `ContentTarget`. A reference with no tag has its document put by digest."""
        self._pusher.put(reference, reference.tag or descriptor.digest, descriptor, raw)

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:  # noqa: ARG002
        self._pusher.remove_tag(reference)

    def close(self) -> None:
        """Close idle connections; the registry remains usable."""
        self._source.close()
