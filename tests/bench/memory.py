"""Peak memory and disk of the main commands with one large layer, which a registry makes up."""

import shutil
from pathlib import Path

from tests.bench.lab import Contender, Lab, Table
from tests.bench.synthetic import NAME
from tests.bench.world import World, daemon_of

MEGABYTES = 10_000
PACK, VERIFY = "airgap `pack`", "airgap `verify`"
FOLDER, REGISTRY = "airgap `load` into a folder", "airgap `load` into a registry"
DOCKER = {f"airgap `load` into {name}": name for name in ("docker20", "docker28", "docker28c")}
SEND = "airgap `send`"
TABLE = Table("memory", "one layer of 10 GB", (), ("CPU s", "RSS MB", "result MB", "disk peak MB"))


def contenders(world: World) -> list[Contender]:
    """One turn of all commands, one after the other: they share the bundle."""
    return [Contender(TABLE, "all", _all, rounds=1, warm=False, ours=True)]


def _all(lab: Lab) -> None:
    world = lab.world
    host = world.service("tests.bench.synthetic", int(MEGABYTES * world.scale))
    manifest = world.manifest("memory", [f"{host}/{NAME}"])
    with world.scratch() as folder:
        online, offline = (world.fresh_site(site, folder) for site in world.sites)
        stick = folder / "stick"
        lab.airgap(PACK, online, "pack", manifest, "--to", stick, result=stick, small=True)
        bundle = stick / "memory-0001"
        lab.airgap(VERIFY, offline, "verify", bundle, result=bundle, small=True)
        _load(lab, offline, bundle)
        hosts = world.hosts
        [server] = hosts.take(1)
        options = ("--identity", hosts.key, "--known-hosts", hosts.known, "--ssh-config", "/dev/null")
        lab.airgap(SEND, online, "send", bundle, server.address, "--to", "arrived", *options, small=True)
        hosts.take(0)


def _load(lab: Lab, home: Path, bundle: Path) -> None:
    world, out = lab.world, bundle.parents[1] / "out"
    lab.airgap(FOLDER, home, "load", bundle, "--to", f"oci:{out}", result=out, small=True)
    shutil.rmtree(out)
    with world.empty_registry() as target:
        options = {"daemon": daemon_of(target), "result": target.folder / "data", "small": True}
        lab.airgap(REGISTRY, home, "load", bundle, "--to", f"registry:{target.host}", **options)
    for row, name in DOCKER.items():
        engine = getattr(world, name)
        engine.reset()
        options = {"daemon": daemon_of(engine), "disk": engine.folder, "small": True}
        lab.airgap(row, home, "load", bundle, "--to", f"docker:{engine.host}", **options)
        engine.reset()
