"""The URLs of one registry (OCI distribution-spec 1.1, "Endpoints")."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from airgap.endpoints.registry.body import Body
from airgap.endpoints.registry.session import Request
from airgap.oci.digest import Digest
from airgap.oci.documents import DOCUMENT_TYPES
from airgap.oci.reference import ImageReference

PULL = "pull"
PUSH = "pull,push"

ACCEPT = {"Accept": ", ".join(sorted(DOCUMENT_TYPES))}


@dataclass(frozen=True, slots=True)
class Names:
    """Makes requests to the registry `host` at the URL `base`; `prefix` goes before each repository.

    Only the repository of `reference` is used: its registry is ignored.
    """

    host: str
    base: str
    prefix: str

    def manifest(
        self,
        method: str,
        reference: ImageReference,
        name: object,
        actions: str,
        *,
        headers: Mapping[str, str] = ACCEPT,
        body: Body | None = None,
    ) -> Request:
        """Return a request about the document with the tag or digest `name`."""
        path = f"manifests/{quote(str(name), safe=':')}"
        scope = self.scope(reference, actions)
        return Request(
            method, self.url(reference, path), self.document(reference, name), scope, headers, body
        )

    def blob(
        self, method: str, reference: ImageReference, digest: Digest, headers: Mapping[str, str] | None = None
    ) -> Request:
        """Return a request about a blob; HEAD asks for the rights of a push."""
        actions = PUSH if method == "HEAD" else PULL
        subject = self.subject(reference, f"blob {digest}")
        url = self.url(reference, f"blobs/{digest}")
        return Request(method, url, subject, self.scope(reference, actions), headers or {})

    def url(self, reference: ImageReference, path: str) -> str:
        """Return the URL of `path` in the repository."""
        return f"{self.base}/v2/{quote(self.repository(reference))}/{path}"

    def repository(self, reference: ImageReference) -> str:
        """Return the repository's name at the registry."""
        return "/".join(filter(None, (self.prefix, reference.repository)))

    def scope(self, reference: ImageReference, actions: str) -> str:
        """Return the scope that a token must allow."""
        return f"repository:{self.repository(reference)}:{actions}"

    def document(self, reference: ImageReference, name: object) -> str:
        """Return the name that errors use for the document with the tag or digest `name`."""
        return f"{self.host}/{self.repository(reference)}{'@' if isinstance(name, Digest) else ':'}{name}"

    def subject(self, reference: ImageReference, what: object) -> str:
        """Return the name that errors use for something else in the repository."""
        return f"{self.host}/{self.repository(reference)}: {what}"
