"""A registry that makes up what it serves, for figures that must not depend on a disk: `python -m tests.bench.synthetic`.

`many/N:1` (N below 1,000) are small images with ten blobs each, of which only the config exists.
`SIZE/N:1` (N below 10) are images of one layer that together have SIZE megabytes: a block of noise, repeated.
"""

import hashlib
import json
import random
import re
import socketserver
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from airgap.oci.documents import OCI_CONFIG, OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_MANIFEST

MANY = 1000
LAYERS = 9
PARTS = 10
_BLOCK = 1_000_000
_REQUEST = re.compile(rb"(GET|HEAD) /v2/(?:([a-z0-9]+)/([0-9]+)/(manifests|blobs)/(\S+))? ")


@dataclass(frozen=True)
class Content:
    """`raw`, repeated."""

    raw: bytes
    digest: str
    times: int = 1

    @classmethod
    def of(cls, raw: bytes, times: int = 1) -> "Content":
        sum_ = hashlib.sha256()
        for _ in range(times):
            sum_.update(raw)
        return cls(raw, f"sha256:{sum_.hexdigest()}", times)

    @property
    def size(self) -> int:
        return len(self.raw) * self.times

    def entry(self, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs below it that exist."""

    manifest: Content
    blobs: dict[str, Content]


@cache
def image(group: str, number: int) -> Image:
    """The image `group`/`number`:1."""
    if group == "many":
        sums = [hashlib.sha256(f"{number} {layer}".encode()).hexdigest() for layer in range(LAYERS)]
        entries = [{"mediaType": OCI_LAYER_GZIP, "digest": f"sha256:{hex_}", "size": 12345} for hex_ in sums]
        return _image(f"{group} {number}", entries, {})
    block = random.Random(f"{group} {number}").randbytes(_BLOCK)
    layer = Content.of(block, int(group) * 1_000_000 // PARTS // _BLOCK)
    return _image(f"{group} {number}", [layer.entry(OCI_LAYER_TAR)], {layer.digest: layer})


def _image(name: str, layers: list[dict[str, object]], blobs: dict[str, Content]) -> Image:
    diff_ids = [f"sha256:{hashlib.sha256(f'{name} {i}'.encode()).hexdigest()}" for i in range(len(layers))]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    made = Content.of(json.dumps(config | {"author": name}).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": made.entry(OCI_CONFIG),
        "layers": layers,
    }
    return Image(Content.of(json.dumps(manifest).encode()), {made.digest: made, **blobs})


class _Handler(socketserver.StreamRequestHandler):
    """The least of HTTP/1.1 that a client of registries needs, so that it is the client that is measured."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        while request := self.rfile.readline(4096):
            while self.rfile.readline(4096) not in (b"\r\n", b""):
                pass
            found = _REQUEST.match(request)
            if not found:
                return
            for piece in _answer(*found.groups()):
                self.wfile.write(piece)


def _answer(
    method: bytes, group: bytes | None, number: bytes, kind: bytes, name: bytes
) -> Iterator[bytes | memoryview]:
    if group is None:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        return
    wanted = image(group.decode(), int(number))
    is_manifest = kind == b"manifests"
    content = wanted.manifest if is_manifest else wanted.blobs.get(name.decode())
    if content is None:
        yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        return
    media_type = OCI_MANIFEST if is_manifest else "application/octet-stream"
    yield (
        f"HTTP/1.1 200 OK\r\nContent-Length: {content.size}\r\nContent-Type: {media_type}\r\n"
        f"Docker-Content-Digest: {content.digest}\r\n\r\n"
    ).encode()
    if method == b"GET":
        for _ in range(content.times):
            yield content.raw


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), _Handler) as server:
        host, port = server.server_address[:2]
        print(f"listening on {host}:{port}", flush=True)
        server.serve_forever()
