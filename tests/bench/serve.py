"""`airgap serve` beside docker-registry and nginx, which serve the very same files of one bundle.

They are a few large blobs or many small ones, pulled by some clients at the same time and in the same order.
The client is a small Go program that discards the bytes in the kernel. airgap hashes what it sends, the
others do not. Server CPU is that of the server's processes.
"""

import math
from functools import cached_property, partial
from pathlib import Path

from tests.bench.lab import Contender, Lab, Table
from tests.bench.measure import Daemon
from tests.bench.world import AIRGAP, World
from tests.judges.documents import build
from tests.support.images import Layer, make_image, noise
from tests.support.parts import Service, require_tool
from tests.support.registries import RealRegistry
from tests.support.sshd import free_port

LOADS = {"large": (8, 32_000_000), "small": (1_000, 16_000)}
"""The number of blobs and their size in bytes."""
CLIENTS = {1: 2.0, 8: 0.5, 64: 0.125}
"""How many clients there are, and how often each pulls all blobs, or which part of them."""
SERVE, REGISTRY, NGINX = "**airgap serve** (hashed)", "docker-registry", "nginx"
_COLUMNS = ("GB/s", "server CPU s for 1 GB", "server RSS MB")
TABLES = {
    (load, clients): Table(
        f"serve-{load}-{clients}",
        f"pulled by {clients} at a time, blobs of {size:,} bytes",
        (REGISTRY, NGINX),
        _COLUMNS,
    )
    for load, (_, size) in LOADS.items()
    for clients in CLIENTS
}
_SETTINGS = """
daemon off; user root; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/v2/[a-z]+/blobs/sha256:([0-9a-f]+)$ {{ alias {bundle}/blobs/sha256/$1; }}
  }}
}}
"""


def contenders(world: World) -> list[Contender]:
    served = _Served(world)
    return [
        Contender(TABLES[load, clients], row, partial(_pull, served, row, load, clients), ours=row == SERVE)
        for load, clients in TABLES
        for row in (SERVE, REGISTRY, NGINX)
    ]


def _pull(served: "_Served", row: str, load: str, clients: int, lab: Lab) -> None:
    share = CLIENTS[clients]
    bundle = served.bundle
    host, pid = served.server(row, lab.tree)
    paths = served.paths[load]
    own = (paths * math.ceil(share))[: int(len(paths) * share)]
    listed = served.folder / "paths"
    listed.write_text("".join(f"{path}\n" for path in own))
    sizes = [(bundle / "blobs/sha256" / path.rpartition(":")[2]).stat().st_size for path in own]
    command = ["sh", "-c", 'exec "$0" "$1" "$2" < "$3"', served.client, host, str(clients), listed]
    lab.measure(row, command, daemon=Daemon((pid,)), result=sum(sizes) * clients, small=True)


class _Served:
    """A bundle and the servers over it, each started when it is first asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._servers: dict[tuple[str, Path], tuple[str, int]] = {}
        self.paths: dict[str, list[str]] = {}
        """The paths of the blobs of each load."""

    @cached_property
    def folder(self) -> Path:
        folder = self._world.folder / "serve"
        folder.mkdir()
        return folder

    @cached_property
    def client(self) -> Path:
        return build(self.folder, Path(__file__).with_name("pull.go"))

    @cached_property
    def bundle(self) -> Path:
        images = {}
        for name, (count, size) in LOADS.items():
            layers = [Layer.of({"noise": noise(size, size + number)}, "none") for number in range(count)]
            made = [make_image(layers[number : number + 100]) for number in range(0, count, 100)]
            images |= {f"example.com/{name}:{number}": image for number, image in enumerate(made)}
            self.paths[name] = [f"/v2/{name}/blobs/{layer}" for image in made for layer in image.layers]
        return self._world.layout_bundle("served", images)

    def server(self, row: str, tree: Path) -> tuple[str, int]:
        """Return the address and the first process of a server; `tree` is the working tree of airgap."""
        if (row, tree) not in self._servers:
            start = {SERVE: self._airgap, REGISTRY: self._registry, NGINX: self._nginx}[row]
            self._servers[row, tree] = start(tree)
        return self._servers[row, tree]

    def _airgap(self, tree: Path) -> tuple[str, int]:
        home = self._world.packed_by("served")
        settings = [f"{name}={value}" for name, value in self._world.environment(home, tree).items()]
        words = ["serve", str(self.bundle), "--port", "0", "--quiet", "--json"]
        service = Service(["env", *settings, *AIRGAP, *words], self.folder / "serve.log")
        self._world.keep(service)
        return service.wait_for_line(r'"address": "([^"]+)"', "airgap serve")[1], service.pid

    def _nginx(self, _: Path) -> tuple[str, int]:
        port, settings = free_port(), self.folder / "nginx.conf"
        settings.write_text(_SETTINGS.format(folder=self.folder, port=port, bundle=self.bundle))
        command = [require_tool("nginx"), "-c", str(settings), "-p", str(self.folder)]
        service = Service(command, self.folder / "nginx.log")
        self._world.keep(service)
        return f"127.0.0.1:{port}", service.pid

    def _registry(self, _: Path) -> tuple[str, int]:
        """Debian's docker-registry over links to the bundle's files."""
        registry = RealRegistry(self.folder / "registry")
        self._world.keep(registry)
        data = registry.folder / "data/docker/registry/v2"
        for name, path in ((name, path) for name, paths in self.paths.items() for path in paths):
            hex_ = path.rpartition(":")[2]
            link = data / "repositories" / name / "_layers/sha256" / hex_ / "link"
            link.parent.mkdir(parents=True)
            link.write_text(f"sha256:{hex_}")
            blob = data / "blobs/sha256" / hex_[:2] / hex_ / "data"
            blob.parent.mkdir(parents=True)
            blob.symlink_to(self.bundle / "blobs/sha256" / hex_)
        return registry.host, registry.pid
