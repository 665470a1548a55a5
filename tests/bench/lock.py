"""`airgap lock` of many images through a long line, beside `crane digest`, which asks for no attachments.

`python -m tests.bench.lock` is the registry at the other end, in a process of its own.
"""

import shlex
import threading
from pathlib import Path

from tests.bench.lab import Contender, Lab, Table
from tests.bench.world import World
from tests.support.far_registry import FarProxy
from tests.support.registry import FakeRegistry
from tests.support.requests import image_of, platforms

IMAGES, PLATFORMS = 50, 10
LOCK, CRANE = "**airgap lock**", "crane `digest`, 8 parallel"
TABLE = Table("lock", f"lock of {IMAGES} images of {PLATFORMS} platforms, 40 ms away", (CRANE,))


def contenders(world: World) -> list[Contender]:
    return [Contender(TABLE, CRANE, _digests), Contender(TABLE, LOCK, _lock, ours=True)]


def _names(world: World) -> list[str]:
    return [f"{world.many_images}/app{number}:1" for number in range(IMAGES)]


def _lock(lab: Lab) -> None:
    world = lab.world
    with world.scratch() as folder:
        manifest: Path = folder / "stack.yaml"
        entries = "".join(f"  - {name}\n" for name in _names(world))
        head = f"version: 1\nname: stack\nplatforms: [{', '.join(platforms(PLATFORMS))}]\nimages:\n"
        manifest.write_text(head + entries)
        home = world.fresh_site(world.sites[0], folder)
        lab.airgap(LOCK, home, "lock", manifest, small=True)


def _digests(lab: Lab) -> None:
    crane = [*lab.world.sid("crane"), "digest", "--insecure"]
    names = "\n".join(_names(lab.world))
    command = f"printf '%s' {shlex.quote(names)} | xargs -P 8 -n 1 {shlex.join(crane)}"
    lab.measure(CRANE, ["sh", "-ec", command], small=True)


def main() -> None:
    """Serve the images until the process is ended."""
    with FakeRegistry() as fake:
        for number in range(IMAGES):
            fake.add(f"app{number}", "1", image_of(PLATFORMS, f"app{number}x"))
        port = int(fake.host.rpartition(":")[2])
        with FarProxy(port, round_trip=0.04, rate=25_000_000) as far:
            print(f"listening on {far.host}", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main()
