"""What the tests of the server share: images that are served, and a plain client."""

import http.client
import json
import socket
from contextlib import closing

from airgap.endpoints.server import ImageServer
from airgap.oci.digest import CHUNK, Digest
from tests.support.images import Layer, make_image, make_index, noise, simple_image

API = simple_image("api")
OLD = simple_image("old", docker=True)
BIG = make_image([Layer.of({"big": noise(3 * CHUNK, 1)}, "none")])
INDEX = make_index([API, simple_image("arm", platform="linux/arm64")])
NAMES = {
    "ghcr.io/acme/api:2.3": API,
    "ghcr.io/acme/api:latest": INDEX,
    "docker.io/library/old:1": OLD,
    "docker.io/acme/big:1": BIG,
}


LAYER = API.contents[API.layers[0]]
MISSING = Digest.of(b"not there")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str:
        [error] = json.loads(self.body)["errors"]
        assert isinstance(error["message"], str)
        return error["code"]


def connect(server: ImageServer) -> http.client.HTTPConnection:
    host, _, port = server.address.rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=60)


def ask(server: ImageServer, path: str, method: str = "GET", **headers: str) -> Answer:
    with closing(connect(server)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return Answer(connection.getresponse())


def say(server: ImageServer, raw: bytes) -> bytes:
    """What comes back until the server closes."""
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def path_of(kind: str, digest: object, name: str = "acme/api") -> str:
    return f"/v2/{name}/{kind}/{digest}"
