"""A registry that makes up one image with one large layer: `python -m tests.bench.synthetic MEGABYTES`.

The layer is a tar that is not compressed, of one file of noise that repeats. Nothing of it is on a disk.
The answers are the least of HTTP/1.1 that a client of registries needs, with ranges.
"""

import hashlib
import json
import random
import re
import socketserver
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.oci.documents import OCI_CONFIG, OCI_LAYER_TAR, OCI_MANIFEST

NAME = "acme/large:1"
_BLOCK = 1 << 20
_REQUEST = re.compile(rb"(GET|HEAD) /v2/(?:acme/large/(manifests|blobs)/(\S+))? ")
_RANGE = re.compile(rb"range: bytes=(\d+)-(\d*)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Content:
    """Pieces that follow each other; the same object may be in it many times."""

    pieces: Sequence[bytes]
    digest: str
    size: int

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> "Content":
        sha256 = hashlib.sha256()
        for piece in pieces:
            sha256.update(piece)
        return cls(pieces, f"sha256:{sha256.hexdigest()}", sum(map(len, pieces)))

    def entry(self, media_type: str) -> dict[str, object]:
        """The descriptor in JSON."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}

    def part(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, exclusive."""
        offset = 0
        for piece in self.pieces:
            if offset < stop and offset + len(piece) > start:
                yield piece[max(start - offset, 0) : stop - offset]
            offset += len(piece)


def image(megabytes: int) -> tuple[Content, dict[str, Content]]:
    """The manifest, and the blobs by their digests."""
    size = megabytes * 1_000_000 // _BLOCK * _BLOCK
    noise = random.Random(megabytes).randbytes(_BLOCK)
    pieces = [header("large.bin", size), *[noise] * (size // _BLOCK), padding(size), END_OF_ARCHIVE]
    layer = Content.of(pieces)
    rootfs = {"type": "layers", "diff_ids": [layer.digest]}
    config = Content.of([json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()])
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.entry(OCI_CONFIG),
        "layers": [layer.entry(OCI_LAYER_TAR)],
    }
    return Content.of([json.dumps(manifest).encode()]), {blob.digest: blob for blob in (config, layer)}


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    manifest: Content
    blobs: dict[str, Content]

    def handle(self) -> None:
        while request := self.rfile.readline(4096):
            lines = b"".join(iter(lambda: self.rfile.readline(4096), b"\r\n"))
            for piece in self._answer(request, _RANGE.search(lines)):
                self.wfile.write(piece)

    def _answer(self, request: bytes, wanted: re.Match[bytes] | None) -> Iterator[bytes]:
        found = _REQUEST.match(request)
        if not found or found[2] is None:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            return
        is_manifest = found[2] == b"manifests"
        content = self.manifest if is_manifest else self.blobs.get(found[3].decode())
        if content is None:
            yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            return
        start = int(wanted[1]) if wanted else 0
        stop = int(wanted[2]) + 1 if wanted and wanted[2] else content.size
        head = "206 Partial Content" if wanted else "200 OK"
        place = f"Content-Range: bytes {start}-{stop - 1}/{content.size}\r\n" if wanted else ""
        media_type = OCI_MANIFEST if is_manifest else "application/octet-stream"
        yield (
            f"HTTP/1.1 {head}\r\nContent-Length: {stop - start}\r\nContent-Type: {media_type}\r\n{place}"
            f"Docker-Content-Digest: {content.digest}\r\nAccept-Ranges: bytes\r\n\r\n"
        ).encode()
        if found[1] == b"GET":
            yield from content.part(start, stop)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until the process is ended."""
    _Handler.manifest, _Handler.blobs = image(int(sys.argv[1]))
    with _Server(("127.0.0.1", 0), _Handler) as server:
        host, port = server.server_address[:2]
        print(f"listening on {host}:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
