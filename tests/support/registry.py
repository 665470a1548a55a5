"""A registry in this process, on loopback, with its contents in memory, that can be told to misbehave.

    with FakeRegistry() as registry:
        registry.add("acme/api", "1.0", simple_image("api"))
        registry.fault(method="GET", path="/blobs/", drop_at=100, times=1)
        ...  # talk to registry.host
        assert registry.requests[-1].method == "GET"

It speaks the pull and push parts of the OCI distribution-spec 1.1, referrers and tag lists where it is
told to, and Docker's token protocol (`/token`).
"""

import base64
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from airgap.errors import AirgapError
from airgap.oci.digest import Digest
from airgap.oci.documents import DOCUMENT_TYPES, OCI_INDEX
from tests.support.images import Image
from tests.support.registry_parts import (
    Answer,
    Request,
    Uploads,
    apply_range,
    content,
    error,
    index_of,
    page_of,
    referrers_of,
)

_ROUTE = re.compile(
    r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<name>[^/]+(?:/[^/]*)?)"
)
_NEVER = 1 << 30


@dataclass
class Fault:
    """What to do differently for matching requests. `path` is a pattern searched in path and query."""

    method: str = ""
    path: str = ""
    times: int = _NEVER
    skip: int = 0
    """Matching requests that are answered properly first."""
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    """Headers to set; None takes one away. A `content-length` here replaces the true one."""
    drop_at: int | None = None
    """Cut the connection after so many bytes of the body; -1: before a byte of the answer."""
    stall_at: int | None = None
    """Fall silent after so many bytes of the body, until the client goes away."""
    take: int | None = None
    """Cut the connection after so many bytes of the request's body."""
    ignore_range: bool = False

    def takes(self, request: Request) -> bool:
        if self.times <= 0 or self.method not in ("", request.method):
            return False
        if not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Tokens:
    """Docker's token protocol: who may log in, and which tokens are good now."""

    users: dict[str, str]
    refresh_tokens: set[str]
    anonymous: bool
    expires_in: int | None
    field_name: str
    good: dict[str, str] = field(default_factory=dict)
    """Token -> scope."""
    issued: int = 0

    def issue(self, scope: str) -> dict[str, Any]:
        self.issued += 1
        token = f"token-{self.issued}"
        self.good[token] = scope
        expiry = {} if self.expires_in is None else {"expires_in": self.expires_in}
        return {self.field_name: token, **expiry}


class FakeRegistry:
    """See the module. `tls` is a certificate file and its key file, as `certificates.self_signed()` makes them."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.blobs: dict[tuple[str, Digest], bytes] = {}
        """By repository and digest."""
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        """By repository and tag or digest: media type and raw bytes."""
        self.objects: dict[str, bytes] = {}
        """By path, outside of /v2/ and with no login: another registry's blob storage."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.basic: tuple[str, str] | None = None
        self.tokens: Tokens | None = None
        self.challenge: str | None = None
        """The WWW-Authenticate to send in place of the true one."""
        self.storage: FakeRegistry | None = None
        """Blobs are redirected to there."""
        self.uploads = Uploads(self.blobs)
        self.habits: list[Callable[[Request], Answer | None]] = []
        """Answers in the place of the right one, and before anything is stored; the first that is not None."""
        self.removes_tags = True
        self.referrers_api = False
        self.page_size = 0
        """Entries on one page of a list; 0 is all."""
        self.lock = threading.Lock()
        self.scheme = "https" if tls else "http"
        self._server = _Server(self, tls)
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.002,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.cut_all()
        self._server.server_close()

    def add(self, repository: str, tag: str | None, image: Image) -> None:
        """Hold `image` with all that is under it."""
        for digest, raw in image.contents.items():
            media_type = _document_type(raw)
            if media_type:
                self.manifests[repository, str(digest)] = (media_type, raw)
            else:
                self.blobs[repository, digest] = raw
        if tag:
            self.manifests[repository, tag] = (image.descriptor.media_type, image.raw)

    def fault(self, **rule: Any) -> Fault:
        """Add a rule (see `Fault`); the first one that takes a request decides."""
        self.faults.append(Fault(**rule))
        return self.faults[-1]

    def require_basic(self, user: str, password: str) -> None:
        self.basic = (user, password)

    def require_bearer(
        self,
        users: dict[str, str] | None = None,
        *,
        refresh_tokens: set[str] | None = None,
        anonymous: bool = False,
        expires_in: int | None = 300,
        field_name: str = "token",
    ) -> Tokens:
        self.tokens = Tokens(users or {}, refresh_tokens or set(), anonymous, expires_in, field_name)
        return self.tokens

    def asked(self, method: str, path: str = "") -> list[Request]:
        """The requests so far with that method whose path matches the pattern."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    def answer(self, request: Request) -> Answer:
        """The right answer, faults aside."""
        url = urlsplit(request.path)
        if url.path == "/token":
            return self._token(request)
        for habit in self.habits:
            if (habitual := habit(request)) is not None:
                return habitual
        if url.path in self.objects:
            return content(self.objects[url.path], {})
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if url.path == "/v2/":
            return Answer(200, b"{}")
        if (match := _ROUTE.fullmatch(url.path)) is None:
            return error(404, "NAME_UNKNOWN", "no such page")
        return self._route(request, match["repository"], match["kind"], match["name"])

    def _route(self, request: Request, repository: str, kind: str, name: str) -> Answer:
        if kind == "manifests":
            if request.method == "PUT":
                return self._put_manifest(request, repository, name)
            if request.method == "DELETE":
                return self._remove(repository, name)
            return self._get_manifest(repository, name)
        if kind == "tags":
            return self._tags(request, repository)
        if kind == "referrers":
            return self._referrers(request, repository, name)
        if name.startswith("uploads/"):
            with self.lock:
                return self.uploads.answer(request, repository)
        return self._get_blob(repository, name)

    def _remove(self, repository: str, tag: str) -> Answer:
        if not self.removes_tags or ":" in tag:
            return error(405, "UNSUPPORTED", "not here")
        return Answer(404 if self.manifests.pop((repository, tag), None) is None else 202)

    def _tags(self, request: Request, repository: str) -> Answer:
        tags = sorted(name for place, name in self.manifests if place == repository and ":" not in name)
        page, link = page_of(request, tags, self.page_size)
        return Answer(200, json.dumps({"name": repository, "tags": page}).encode(), link)

    def _referrers(self, request: Request, repository: str, digest: str) -> Answer:
        if not self.referrers_api:
            return error(404, "NAME_UNKNOWN", "no such page")
        page, link = page_of(request, referrers_of(self.manifests, repository, digest), self.page_size)
        return Answer(200, index_of(page), {"content-type": OCI_INDEX, **link})

    def _get_manifest(self, repository: str, name: str) -> Answer:
        found = self.manifests.get((repository, name))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, raw = found
        return Answer(200, raw, {"content-type": media_type, "docker-content-digest": str(Digest.of(raw))})

    def _put_manifest(self, request: Request, repository: str, name: str) -> Answer:
        raw = request.body
        media_type = request.headers.get("content-type", "")
        digest = Digest.of(raw)
        if ":" in name and name != str(digest):
            return error(400, "DIGEST_INVALID", "digest differs")
        if media_type not in DOCUMENT_TYPES:
            return error(400, "MANIFEST_INVALID", "media type")
        self.manifests[repository, name] = self.manifests[repository, str(digest)] = (media_type, raw)
        headers = {"docker-content-digest": str(digest), "location": "/"}
        subject = json.loads(raw).get("subject")
        if self.referrers_api and subject:
            headers["oci-subject"] = subject["digest"]
        return Answer(201, b"", headers)

    def _get_blob(self, repository: str, name: str) -> Answer:
        try:
            digest = Digest.parse(name)
        except AirgapError:
            return error(400, "DIGEST_INVALID", name)
        found = self.blobs.get((repository, digest))
        if found is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown")
        if self.storage is not None:
            path = f"/storage/{digest.hex}"
            self.storage.objects[path] = found
            return Answer(307, b"", {"location": f"{self.storage.url}{path}?signature=secret"})
        return content(found, {"docker-content-digest": name})

    def _refusal(self, request: Request) -> Answer | None:
        given = request.headers.get("authorization", "")
        if self.basic is not None and given != basic(*self.basic):
            return error(401, "UNAUTHORIZED", "log in", self.challenge or 'Basic realm="fake"')
        if self.tokens is None:
            return None
        repository = match["repository"] if (match := _ROUTE.match(urlsplit(request.path).path)) else ""
        actions = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        scope = self.tokens.good.get(given.removeprefix("Bearer "), "")
        if any(part.startswith(f"repository:{repository}:{actions}") for part in scope.split()):
            return None
        bearer = f'Bearer realm="{self.url}/token",service="fake",scope="repository:{repository}:{actions}"'
        return error(401, "UNAUTHORIZED", "authentication required", self.challenge or bearer)

    def _token(self, request: Request) -> Answer:
        tokens = self.tokens
        assert tokens is not None
        given = request.headers.get("authorization")
        if request.method == "POST":
            form = parse_qs(request.body.decode())
            allowed = form["refresh_token"][0] in tokens.refresh_tokens
        else:
            form = parse_qs(urlsplit(request.path).query)
            logins = {basic(user, password) for user, password in tokens.users.items()}
            allowed = tokens.anonymous if given is None else given in logins
        if not allowed or form["service"] != ["fake"]:
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        with self.lock:
            return Answer(200, json.dumps(tokens.issue(" ".join(form["scope"]))).encode())


def basic(user: str, password: str) -> str:
    """The Authorization header of a Basic login."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _document_type(raw: bytes) -> str | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    media_type = value.get("mediaType") if isinstance(value, dict) else None
    return media_type if media_type in DOCUMENT_TYPES else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: FakeRegistry, tls: tuple[Path, Path] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.live: set[socket.socket] = set()
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.live.add(request)
        try:
            if self.context is None:
                super().finish_request(request, client_address)
            else:
                with self.context.wrap_socket(request, server_side=True) as wrapped:
                    self.live.add(wrapped)
                    super().finish_request(wrapped, client_address)
        except OSError:
            pass  # the client cut the connection, or we did

    def cut_all(self) -> None:
        for connection in list(self.live):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        registry = self.server.registry
        size = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        with registry.lock:
            fault = next((f for f in registry.faults if f.takes(request)), Fault())
        request.body = self.rfile.read(size if fault.take is None else min(size, fault.take))
        with registry.lock:
            registry.requests.append(request)
            if fault.take is not None:
                registry.uploads.keep_part(request)
        if len(request.body) < size or fault.drop_at == -1:
            self.close_connection = True
            return
        answer = registry.answer(request)
        if not fault.ignore_range:
            answer = apply_range(request, answer)
        self._send(_changed(answer, fault), fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _send(self, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in ({"content-length": str(len(answer.body))} | answer.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        drop_at = fault.drop_at if fault.stall_at is None else fault.stall_at
        self.wfile.write(answer.body[:drop_at])
        if fault.stall_at is not None:
            self.connection.recv(1)
        declared = answer.headers.get("content-length")
        if drop_at is not None or (declared is not None and declared != str(len(answer.body))):
            self.close_connection = True


def _changed(answer: Answer, fault: Fault) -> Answer:
    headers: dict[str, Any] = {**answer.headers, **fault.headers}
    return Answer(
        answer.status if fault.status is None else fault.status,
        answer.body if fault.body is None else fault.body,
        # "" for a header that was taken away, so that the true length is not added again
        {name: value or "" for name, value in headers.items()},
    )
