"""`airgap serve` beside docker-registry and nginx: `python -m tests.bench.serve [--rounds N] [--tree DIR]`.

All three serve the blobs of one bundle, the very same files: a few large ones (8 of 32 MB) and many small ones
(1,000 of 16 KB), to 1, 8 and 64 clients that pull them at the same time, in the same order. The client is a small Go
program that throws the bytes away in the kernel. airgap hashes what it sends, the others do not. Processor
time is that of the server's processes. Each figure is the median of the rounds; the ratios are of the same
run. `--tree` measures the airgap of another working tree too.
"""

import argparse
import contextlib
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.lab import say
from tests.bench.measure import processor, tree
from tests.judges.documents import build
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.parts import Service, require_tool, run
from tests.support.registries import RealRegistry
from tests.support.sshd import free_port

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name("pull.go")
LARGE, SMALL = (8, 32_000_000), (1_000, 16_000)
"""The number of blobs and their size in bytes."""
CLIENTS = {1: 2.0, 8: 0.5, 64: 0.125}
"""How many clients there are, and how often each pulls all blobs, or which part of them."""
PASSPHRASE = "only for this measurement"
NGINX = """
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


@dataclass(frozen=True)
class Server:
    """A running server: its address and its first process."""

    name: str
    host: str
    pid: int


@dataclass
class Figures:
    """What the rounds gave for one server and one load: MB/s, requests a second, processor seconds for 1 GB."""

    rates: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    """The last client's time as a multiple of the first one's."""


def make_bundle(folder: Path) -> tuple[Path, dict[str, list[str]]]:
    """A packed bundle, and the paths of the blobs of each load."""
    images = {}
    for name, (count, size) in (("large", LARGE), ("small", SMALL)):
        layers = [Layer.of({"noise": noise(size, size + number)}, "none") for number in range(count)]
        for number in range(0, count, 100):
            images[f"example.com/{name}:{number}"] = make_image(layers[number : number + 100])
    write_layout(folder / "layout", images)
    (folder / "stack.yaml").write_text("version: 1\nname: served\nimages:\n  - {oci: layout}\n")
    for words in (
        ("init", "--owner", "alice", "--site", "hq"),
        ("pack", folder / "stack.yaml", "--to", folder / "stick", "--quiet"),
    ):
        env = {"AIRGAP_HOME": str(folder / "home"), "AIRGAP_PASSPHRASE": PASSPHRASE}
        run(sys.executable, "-m", "airgap", *words, env=env, timeout=600)
    paths: dict[str, list[str]] = {"large": [], "small": []}
    for reference, image in images.items():
        name = reference.removeprefix("example.com/").partition(":")[0]
        paths[name] += [f"/v2/{name}/blobs/{layer}" for layer in image.layers]
    return folder / "stick" / "served-0001", paths


def start_airgap(folder: Path, bundle: Path, root: Path, stack: contextlib.ExitStack) -> Server:
    command = [
        "env", f"AIRGAP_HOME={folder / 'home'}", f"PYTHONPATH={root}", sys.executable, "-P", "-m", "airgap",
        "serve", str(bundle), "--port", "0", "--quiet", "--json",
    ]  # fmt: skip
    service = stack.enter_context(Service(command, folder / "serve.log"))
    found = service.wait_for_line(r'"address": "([^"]+)"', "airgap serve")
    return Server(f"airgap of {root}", found[1], service.pid)


def start_nginx(folder: Path, bundle: Path, stack: contextlib.ExitStack) -> Server:
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, bundle=bundle))
    program = require_tool("nginx")
    service = stack.enter_context(
        Service([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "n.log")
    )
    return Server("nginx", f"127.0.0.1:{port}", service.pid)


def start_registry(
    folder: Path, bundle: Path, paths: dict[str, list[str]], stack: contextlib.ExitStack
) -> Server:
    """Debian's docker-registry over links to the bundle's files."""
    registry = stack.enter_context(RealRegistry(folder / "registry"))
    data = folder / "registry/data/docker/registry/v2"
    for name, own in paths.items():
        for path in own:
            hex_ = path.rpartition(":")[2]
            link = data / "repositories" / name / "_layers/sha256" / hex_ / "link"
            link.parent.mkdir(parents=True)
            link.write_text(f"sha256:{hex_}")
            blob = data / "blobs/sha256" / hex_[:2] / hex_ / "data"
            blob.parent.mkdir(parents=True)
            blob.symlink_to(bundle / "blobs/sha256" / hex_)
    return Server("docker-registry", registry.host, registry.pid)


def pull(client: Path, server: Server, clients: int, paths: list[str], figures: Figures) -> None:
    before = processor(list(tree(server.pid)))
    lines = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(
        [client, server.host, str(clients)],
        input=lines,
        text=True,
        capture_output=True,
        check=True,
        timeout=900,
    )
    cost = processor(list(tree(server.pid))) - before
    count, size, first, last = map(float, done.stdout.split())
    figures.rates.append(size / last / 1e6)
    figures.requests.append(count / last)
    figures.costs.append(cost / size * 1e9)
    figures.spread.append(last / first)
    say(f"{server.name}, {clients}: {size / last / 1e6:,.0f} MB/s, {cost / size * 1e9:.2f} CPU s for 1 GB")


def measure_all(
    folder: Path, rounds: int, loads: list[str], trees: list[Path]
) -> dict[tuple[str, int], dict[str, Figures]]:
    """Start all servers, and let each take its turn in each round; the first round does not count."""
    bundle, paths = make_bundle(folder)
    client = build(folder, CLIENT)
    taken: dict[tuple[str, int], dict[str, Figures]] = {}
    with contextlib.ExitStack() as stack:
        servers = [start_airgap(folder, bundle, root, stack) for root in (ROOT, *trees)]
        servers += [start_registry(folder, bundle, paths, stack), start_nginx(folder, bundle, stack)]
        for load, clients, number in _turns(rounds, loads):
            row = taken.setdefault((load, clients), {})
            share = CLIENTS[clients]
            own = (paths[load] * math.ceil(share))[: int(len(paths[load]) * share)]
            for server in servers:
                figures = row.setdefault(server.name, Figures()) if number else Figures()
                pull(client, server, clients, own, figures)
    return taken


def _turns(rounds: int, loads: list[str]) -> Iterator[tuple[str, int, int]]:
    for load in loads:
        for clients in CLIENTS:
            for number in range(rounds + 1):
                yield load, clients, number


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.bench.serve")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", nargs="+", default=["large", "small"])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another working tree of airgap"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airgap-serve-", dir=options.folder) as name:
        Path(name).chmod(0o755)
        taken = measure_all(Path(name), options.rounds, options.load, options.tree)
    for (load, clients), row in taken.items():
        ours = statistics.median(row[f"airgap of {ROOT}"].rates)
        print(f"{load} blobs, {clients} at a time; medians of {options.rounds}")
        for server, figures in row.items():
            rate, requests, cost, spread = (
                statistics.median(values)
                for values in (figures.rates, figures.requests, figures.costs, figures.spread)
            )
            print(
                f"  {server:32} {rate:6,.0f} MB/s {requests:7,.0f} requests/s {cost:6.2f} CPU s/GB"
                f"  last/first client {spread:4.1f}  airgap / it {ours / rate:5.2f}"
            )


if __name__ == "__main__":
    main()
