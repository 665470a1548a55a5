"""From a bundle to an empty registry, and to Docker."""

import time
from collections.abc import Callable
from functools import partial

from tests.bench.lab import Contender, Lab, Table
from tests.bench.measure import CommandError, used
from tests.bench.pulls import client_environment, script
from tests.bench.world import World, daemon_of
from tests.support.engines import Engine

CRANE, SKOPEO = "crane `push --index` (all under one name)", "skopeo `copy --all`"
ORAS = "oras `cp --from-oci-layout`"
LOAD = "**airgap load** (checked, receipt)"
DOCKER = "`docker load`"
AGAIN, UPDATE, DELTA = ", again", ", update of three images", ", update as a delta bundle"
REGISTRY = Table("registry", "bundle to an empty registry", (CRANE,))
_ENGINE = ("server CPU s", "RSS MB", "server RSS MB", "engine's temporary MB")
ENGINES = {
    name: Table(name, f"bundle to {title}", (DOCKER,), _ENGINE)
    for name, title in {
        "docker20": "Docker 20.10, classic store",
        "docker28": "Docker 28.5, classic store",
        "docker28c": "Docker 28.5, containerd store",
    }.items()
}
_RESTING_SECONDS = 60


def to_registry(world: World) -> list[Contender]:
    peers = {CRANE: _crane, SKOPEO: _skopeo, ORAS: _oras}
    return [
        *(Contender(REGISTRY, row, partial(_push, row, argv)) for row, argv in peers.items()),
        Contender(REGISTRY, LOAD, _load, ours=True),
    ]


def to_docker(world: World) -> list[Contender]:
    found = []
    for name, table in ENGINES.items():
        found.append(Contender(table, DOCKER, partial(_docker_load, name), warm=False))
        found.append(Contender(table, LOAD, partial(_airgap_load, name), warm=False, ours=True))
    return found


def _push(row: str, argv: Callable[[World, str], list[str]], lab: Lab) -> None:
    with lab.world.empty_registry() as target:
        for again in ("", AGAIN):
            command = argv(lab.world, target.host)
            lab.measure(row + again, command, daemon=daemon_of(target), small=bool(again))


def _crane(world: World, host: str) -> list[str]:
    return [*world.sid("crane"), "push", "--index", str(world.bundle), f"{host}/all:1"]


def _skopeo(world: World, host: str) -> list[str]:
    options = ["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"]
    return script(
        [
            [
                *(*world.sid("skopeo"), *options),
                f"oci:{world.bundle}:{world.reference(image)}",
                f"docker://{host}/{image.name}",
            ]
            for image in world.corpus.first
        ]
    )


def _oras(world: World, host: str) -> list[str]:
    copy = [*world.sid("oras"), "cp", "--no-tty", "--to-plain-http", "--from-oci-layout"]
    return script(
        [[*copy, f"{world.bundle}@{image.digest}", f"{host}/{image.name}"] for image in world.corpus.first]
    )


def _load(lab: Lab) -> None:
    world = lab.world
    with world.scratch() as folder, world.empty_registry() as target:
        home = world.fresh_site(world.sites[1], folder)
        for again in ("", AGAIN):
            words = ("load", world.bundle, "--to", f"registry:{target.host}")
            lab.airgap(LOAD + again, home, *words, daemon=daemon_of(target), small=bool(again))


def _docker_load(name: str, lab: Lab) -> None:
    """The stock client and the bundle as one tar."""
    world, engine = lab.world, _emptied(lab.world, name)
    tars = {"": world.bundle_tar, AGAIN: world.bundle_tar, UPDATE: world.update_tar}
    for suffix, tar in tars.items():
        lab.measure(
            DOCKER + suffix,
            [engine._client, "load", "--quiet", "--input", tar],
            env=client_environment(world, engine),
            daemon=daemon_of(engine),
            disk=engine.folder,
            small=suffix == UPDATE,
        )
    engine.reset()


def _airgap_load(name: str, lab: Lab) -> None:
    world, engine = lab.world, _emptied(lab.world, name)
    bundles = {"": "bundle", AGAIN: "bundle", UPDATE: "update", DELTA: "delta"}
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[1], folder)
        for suffix, bundle in bundles.items():
            words = ("load", getattr(world, bundle), "--to", f"docker:{engine.host}")
            options = {"daemon": daemon_of(engine), "disk": engine.folder, "small": bool(suffix)}
            lab.airgap(LOAD + suffix, home, *words, **options)
            if suffix == UPDATE:
                engine.docker("image", "rm", *(world.reference(image) for image in world.corpus.update))
    engine.reset()


def _emptied(world: World, name: str) -> Engine:
    """The engine without images; containerd frees the space of what was removed only by and by."""
    engine: Engine = getattr(world, name)
    engine.reset()
    data, last = engine.folder / "data", -1
    for _ in range(_RESTING_SECONDS):
        if (now := used(data)) == last:
            return engine
        last = now
        time.sleep(1)
    raise CommandError(f"{name} does not come to rest")
