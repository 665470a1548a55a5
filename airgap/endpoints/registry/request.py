"""Requests to one registry (OCI distribution-spec 1.1, "Endpoints")."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from airgap.endpoints.registry.body import Body, UploadBody
from airgap.oci.digest import Digest
from airgap.oci.documents import DOCUMENT_TYPES
from airgap.oci.reference import ImageReference

PULL = "pull"
PUSH = "pull,push"

ACCEPT = {"Accept": ", ".join(sorted(DOCUMENT_TYPES))}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRequest:
    """A request to a registry, its token service or its blob storage."""

    method: str
    url: str
    subject: str
    """Its name in errors."""
    scope: str = ""
    """What a token must allow: one scope, or several separated by spaces."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    optional: bool = False
    """True if the work does not need an answer: then less time is spent on getting one."""

    @property
    def writes(self) -> bool:
        """Return whether it is part of a push; such requests are not redirected."""
        return self.method not in ("GET", "HEAD")

    @property
    def repeatable(self) -> bool:
        """Return whether it can be sent again: no bytes were taken from a stream."""
        return not (isinstance(self.body, UploadBody) and self.body.started)


@dataclass(frozen=True, slots=True)
class RequestBuilder:
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
        actions: str = PULL,
        *,
        headers: Mapping[str, str] = ACCEPT,
        body: Body | None = None,
        optional: bool = False,
    ) -> RegistryRequest:
        """Return a request about the document with the tag or digest `name`."""
        return RegistryRequest(
            method=method,
            url=self.url(reference, f"manifests/{quote(str(name), safe=':')}"),
            subject=self.document(reference, name),
            scope=self.scope(reference, actions),
            headers=headers,
            body=body,
            optional=optional,
        )

    def blob(
        self, method: str, reference: ImageReference, digest: Digest, headers: Mapping[str, str] | None = None
    ) -> RegistryRequest:
        """Return a request about a blob; HEAD asks for the rights of a push."""
        return RegistryRequest(
            method=method,
            url=self.url(reference, f"blobs/{digest}"),
            subject=self.subject(reference, f"blob {digest}"),
            scope=self.scope(reference, PUSH if method == "HEAD" else PULL),
            headers=headers or {},
        )

    def page(
        self, reference: ImageReference, path: str, subject: str, headers: Mapping[str, str] | None = None
    ) -> RegistryRequest:
        """Return a request for a list that is not needed to carry an image."""
        return RegistryRequest(
            method="GET",
            url=self.url(reference, path),
            subject=self.subject(reference, subject),
            scope=self.scope(reference, PULL),
            headers=headers or {},
            optional=True,
        )

    def url(self, reference: ImageReference, path: str) -> str:
        """Return the URL of `path` in the repository."""
        return f"{self.base}/v2/{quote(self.repository(reference))}/{path}"

    def repository(self, reference: ImageReference) -> str:
        """Return the repository's name at the registry."""
        return f"{self.prefix}/{reference.repository}" if self.prefix else reference.repository

    def scope(self, reference: ImageReference, actions: str) -> str:
        """Return the scope that a token must allow."""
        return f"repository:{self.repository(reference)}:{actions}"

    def document(self, reference: ImageReference, name: object) -> str:
        """Return the name that errors use for the document with the tag or digest `name`."""
        return f"{self.host}/{self.repository(reference)}{'@' if isinstance(name, Digest) else ':'}{name}"

    def subject(self, reference: ImageReference, what: object) -> str:
        """Return the name that errors use for something else in the repository."""
        return f"{self.host}/{self.repository(reference)}: {what}"
