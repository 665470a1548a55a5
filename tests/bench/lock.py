"""`airgap lock` of many images through a long line, beside `crane digest`, which asks for no attachments.

`python -m tests.bench.lock [api]` is the registry at the other end, in a process of its own, with a referrers
API or without.
"""

import shlex
import sys
import threading
from functools import partial
from pathlib import Path

from tests.bench.lab import Contender, Lab, Table
from tests.bench.world import World
from tests.support.far_registry import FarProxy
from tests.support.registry import FakeRegistry
from tests.support.requests import image_of, platforms

IMAGES, PLATFORMS = 50, 10
LOCK, CRANE = "**airgap lock**", "crane `digest`, 8 parallel"
LOCK_API = "**airgap lock**, referrers API"
TABLE = Table("lock", f"lock of {IMAGES} images of {PLATFORMS} platforms, 40 ms away", (CRANE,))


def contenders(_: World) -> list[Contender]:
    return [
        Contender(TABLE, CRANE, _digests),
        Contender(TABLE, LOCK, partial(_lock, LOCK, api=False), ours=True),
        Contender(TABLE, LOCK_API, partial(_lock, LOCK_API, api=True), ours=True),
    ]


def _names(host: str) -> list[str]:
    return [f"{host}/app{number}:1" for number in range(IMAGES)]


def _lock(row: str, lab: Lab, *, api: bool) -> None:
    world = lab.world
    host = world.many_images_with_api if api else world.many_images
    with world.scratch() as folder:
        manifest: Path = folder / "stack.yaml"
        entries = "".join(f"  - {name}\n" for name in _names(host))
        head = f"version: 1\nname: stack\nplatforms: [{', '.join(platforms(PLATFORMS))}]\nimages:\n"
        manifest.write_text(head + entries)
        home = world.fresh_site(world.sites[0], folder)
        lab.airgap(row, home, "lock", manifest, small=True)


def _digests(lab: Lab) -> None:
    crane = [*lab.world.sid("crane"), "digest", "--insecure"]
    names = "\n".join(_names(lab.world.many_images))
    command = f"printf '%s' {shlex.quote(names)} | xargs -P 8 -n 1 {shlex.join(crane)}"
    lab.measure(CRANE, ["sh", "-ec", command], small=True)


def main() -> None:
    """Serve the images until the process is ended."""
    with FakeRegistry() as fake:
        fake.referrers_api = "api" in sys.argv
        for number in range(IMAGES):
            fake.add(f"app{number}", "1", image_of(PLATFORMS, f"app{number}x"))
        port = int(fake.host.rpartition(":")[2])
        with FarProxy(port, round_trip=0.04, rate=25_000_000) as far:
            print(f"listening on {far.host}", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main()
