"""Registries with something attached to their images, and the way of an image through lock and plan."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.manifest import Lock
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.referrers import cosign_tags, fallback_tag
from airgap.online.lock import resolve
from airgap.online.plan import DocumentCache, TransferPlan, make_plan
from airgap.online.platforms import ATTESTED
from tests.support.images import Image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import index_of
from tests.unit.endpoints.registry_support import Clock
from tests.unit.online.support import manifest_of

EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"


def referrer(subject: Image, text: str = "sbom") -> Image:
    """An artifact whose subject is `subject`."""
    return _artifact(text, {"subject": subject.descriptor.to_json()})


def signature(text: str = "signature") -> Image:
    """An artifact as cosign keeps it under a tag: without a subject."""
    return _artifact(text, {})


def _artifact(text: str, more: dict[str, Any]) -> Image:
    blob = text.encode()
    layer = Descriptor(SIGNATURE, Digest.of(blob), len(blob))
    config = {**EMPTY, "mediaType": OCI_CONFIG}
    head = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/example"}
    raw = json.dumps({**head, "config": config, "layers": [layer.to_json()], **more}).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    contents = {root.digest: raw, layer.digest: blob, Digest.of(b"{}"): b"{}"}
    return Image(root, raw, contents, None, (layer.digest,))


def index_with(images: list[tuple[Image, Image | None]]) -> Image:
    """An index of images, and behind each the attestation about it, if any, as BuildKit writes it."""
    entries, contents = [], {}
    for image, attestation in images:
        entries.append(image.descriptor.to_json())
        contents |= image.contents
        if attestation is not None:
            about = {ATTESTED: str(image.descriptor.digest)}
            unknown = {"os": "unknown", "architecture": "unknown"}
            entries.append({**attestation.descriptor.to_json(), "platform": unknown, "annotations": about})
            contents |= attestation.contents
    raw = index_of(entries)
    root = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
    return Image(root, raw, contents | {root.digest: raw})


def attach(fake: FakeRegistry, repository: str, subject: Image, how: str, text: str = "thing") -> Image:
    """Attach something by the referrers `api`, under the fallback `tag`, or under cosign's `sig`."""
    found = signature(text) if how == "sig" else referrer(subject, text)
    tag = cosign_tags(subject.descriptor.digest)[0] if how == "sig" else None
    fake.add(repository, tag, found)
    if how == "tag":
        raw = index_of([{**found.descriptor.to_json(), "artifactType": "application/example"}])
        fake.manifests[repository, fallback_tag(subject.descriptor.digest)] = (OCI_INDEX, raw)
    return found


@dataclass
class Way:
    """Lock and plan of images of one registry, with one client as one command has it."""

    fake: FakeRegistry
    notices: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def client(self, **options: Any) -> Registry:
        plain = {"sleep": self.clock.sleep, "clock": self.clock, "notice": self.notices.append}
        return Registry(self.fake.host, options=RegistryOptions(**{**plain, **options}))

    def go(
        self,
        *entries: str,
        head: str = "",
        change: Callable[[Lock], Lock] = lambda lock: lock,
        **options: Any,
    ) -> TransferPlan:
        """The plan of images that are named without their registry: `api:1`, or `{ref: HOST/api:1}`."""
        named = [entry if "HOST" in entry else f"HOST/{entry}" for entry in entries]
        manifest = manifest_of(*(entry.replace("HOST", self.fake.host) for entry in named), head=head)
        client, documents = self.client(**options), DocumentCache()
        try:
            lock = change(resolve(manifest, lambda *_: client, documents=documents))
            return make_plan(lock, lambda *_: client, documents=documents)
        finally:
            client.close()
