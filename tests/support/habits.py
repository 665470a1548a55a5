"""How registries that exist refuse parts of a push, as functions that arrange it in a `FakeRegistry`."""

import json
import re
from collections.abc import Collection

from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer, Request, error

_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/?]+)")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/")


def put_of(request: Request) -> tuple[str, str] | None:
    """Repository and tag or digest of a document that is being stored."""
    match = _MANIFEST.fullmatch(request.path)
    return (match[1], match[2]) if match and request.method == "PUT" else None


def wants_whole_indexes(registry: FakeRegistry, status: int, code: str, message: str = "refused") -> None:
    """Refuse an index of which a manifest is absent."""

    def habit(request: Request) -> Answer | None:
        place = put_of(request)
        if place is None or request.headers.get("content-type") not in INDEX_TYPES:
            return None
        entries = json.loads(request.body)["manifests"]
        absent = [e for e in entries if (place[0], e["digest"]) not in registry.manifests]
        return error(status, code, message) if absent else None

    registry.habits.append(habit)


def keeps_tags(
    registry: FakeRegistry, status: int, code: str, message: str, *, also_the_same: bool = False
) -> None:
    """Refuse to give a tag that is taken to another document, or to write it at all."""

    def habit(request: Request) -> Answer | None:
        place = put_of(request)
        if place is None or ":" in place[1] or place not in registry.manifests:
            return None
        same = registry.manifests[place][1] == request.body
        return None if same and not also_the_same else error(status, code, message)

    registry.habits.append(habit)


def writes_once(registry: FakeRegistry) -> None:
    """Nexus with "Disable redeploy": no document is taken twice, not even under another name."""

    def habit(request: Request) -> Answer | None:
        place = put_of(request)
        if place is None or (place[0], str(Digest.of(request.body))) not in registry.manifests:
            return None
        body = {"code": "BLOB_UPLOAD_INVALID", "message": "blob upload invalid"}
        body["detail"] = "Repository does not allow updating assets: docker"
        return Answer(400, json.dumps({"errors": [body]}).encode(), {"content-type": "application/json"})

    registry.habits.append(habit)


def refuses_documents(registry: FakeRegistry, holding: bytes, status: int, code: str, message: str) -> None:
    """Refuse documents in which `holding` stands."""

    def habit(request: Request) -> Answer | None:
        found = put_of(request) is not None and holding in request.body
        return error(status, code, message) if found else None

    registry.habits.append(habit)


def knows_only(registry: FakeRegistry, repositories: Collection[str], answer: Answer) -> None:
    """Take uploads into repositories that were created before, and answer the others so."""

    def habit(request: Request) -> Answer | None:
        match = _UPLOAD.match(request.path)
        return answer if match and request.method == "POST" and match[1] not in repositories else None

    registry.habits.append(habit)


def hides_what_is_absent(registry: FakeRegistry, status: int) -> None:
    """Answer questions for a tag that nothing has so, in the place of 404."""

    def habit(request: Request) -> Answer | None:
        match = _MANIFEST.fullmatch(request.path)
        asked = match is not None and request.method in ("GET", "HEAD")
        return Answer(status) if asked and match and (match[1], match[2]) not in registry.manifests else None

    registry.habits.append(habit)


def wants_subjects_first(registry: FakeRegistry, status: int) -> None:
    """Refuse a document whose subject is absent."""

    def habit(request: Request) -> Answer | None:
        place = put_of(request)
        subject = json.loads(request.body).get("subject") if place else None
        absent = subject is not None and place and (place[0], subject["digest"]) not in registry.manifests
        return error(status, "MANIFEST_UNKNOWN", "no such subject") if absent else None

    registry.habits.append(habit)
