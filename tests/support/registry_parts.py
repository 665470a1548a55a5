"""Parts of the registry in `tests.support.registry`: uploads, and lists in pages."""

import bisect
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX

_STATE = "state=a%2Fb"


@dataclass
class Request:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)


@dataclass
class Answer:
    """What the registry is about to send."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Blobs = dict[tuple[str, Digest], bytes]
"""By repository and digest."""


@dataclass
class Uploads:
    """Uploads under way, in one go or by and by, and mounts. Not locked: a test's uploads come one by one
    or have numbers of their own.
    """

    blobs: Blobs
    forgets: bool = False
    """Whether an upload whose connection broke is given up, as docker-registry 2.8 does."""
    mounts: bool = True
    started: int = 0
    open: dict[str, bytearray] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def answer(self, request: Request, repository: str) -> Answer:
        if request.method == "POST":
            return self._start(request, repository)
        number = urlsplit(request.path).path.rpartition("/")[2]
        if number in self.gone or request.query.get("state") != ["a/b"]:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        content = self.open.setdefault(number, bytearray())
        if request.method == "GET":
            return self._state(204, number, repository)
        if request.method == "PATCH" and request.headers["content-range"].partition("-")[0] != str(
            len(content)
        ):
            return Answer(416)
        content += request.body
        if request.method == "PATCH":
            return self._state(202, number, repository)
        return self._commit(request, repository, number)

    def keep_part(self, request: Request) -> None:
        """The connection broke in the middle of a PATCH or PUT, of which this came."""
        number = urlsplit(request.path).path.rpartition("/")[2]
        if self.forgets:
            self.gone.add(number)
        self.open.setdefault(number, bytearray()).extend(request.body)

    def _start(self, request: Request, repository: str) -> Answer:
        if self.mounts and "mount" in request.query:
            digest = Digest.parse(request.query["mount"][0])
            found = self.blobs.get((request.query["from"][0], digest))
            if found is not None:
                self.blobs[repository, digest] = found
                return Answer(201, b"", {"docker-content-digest": str(digest), "location": "/"})
        self.started += 1
        return self._state(202, str(self.started), repository)

    def _state(self, status: int, number: str, repository: str) -> Answer:
        size = len(self.open.get(number, b""))
        location = f"/v2/{repository}/blobs/uploads/{number}?{_STATE}"
        return Answer(status, b"", {"location": location, "range": f"0-{max(size - 1, 0)}"})

    def _commit(self, request: Request, repository: str, number: str) -> Answer:
        content = bytes(self.open.pop(number))
        self.gone.add(number)
        digest = Digest.of(content)
        if request.query.get("digest") != [str(digest)]:
            return error(400, "DIGEST_INVALID", "digest differs")
        self.blobs[repository, digest] = content
        return Answer(201, b"", {"docker-content-digest": str(digest), "location": "/"})


def page_of(request: Request, items: list[Any], size: int) -> tuple[list[Any], dict[str, str]]:
    """One page of `items`, `size` long (0 is all on one), and the Link header to the next. `last` is a number,
    or of sorted texts the one before.
    """
    last = request.query.get("last", ["0"])[0]
    first = int(last) if last.isdigit() else bisect.bisect_right(items, last)
    if not size or first + size >= len(items):
        return items[first:], {}
    path = urlsplit(request.path).path
    return items[first : first + size], {"link": f'<{path}?last={first + size}>; rel="next"'}


def referrers_of(
    manifests: dict[tuple[str, str], tuple[str, bytes]], repository: str, digest: str
) -> list[dict[str, Any]]:
    """Descriptors of all documents of `repository` whose subject is `digest`."""
    found = []
    for (place, name), (media_type, raw) in manifests.items():
        document = json.loads(raw)
        if place == repository and ":" in name and document.get("subject", {}).get("digest") == digest:
            kind = document.get("artifactType") or document["config"]["mediaType"]
            found.append({"mediaType": media_type, "digest": name, "size": len(raw), "artifactType": kind})
    return found


def index_of(manifests: list[dict[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def content(raw: bytes, headers: dict[str, str]) -> Answer:
    return Answer(200, raw, {"content-type": "application/octet-stream", **headers})


def error(status: int, code: str, message: str, challenge: str | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    headers = {"content-type": "application/json"}
    return Answer(status, body, headers | ({"www-authenticate": challenge} if challenge else {}))


def apply_range(request: Request, answer: Answer) -> Answer:
    """The part of a good answer that the Range header asks for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None or answer.status != 200 or request.method != "GET":
        return answer
    total = len(answer.body)
    first, last = int(match[1]), min(int(match[2] or total - 1), total - 1)
    if first > last:
        return Answer(416, b"", {"content-range": f"bytes */{total}"})
    headers = answer.headers | {"content-range": f"bytes {first}-{last}/{total}"}
    return Answer(206, answer.body[first : last + 1], headers)
