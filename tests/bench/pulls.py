"""From a registry to disk: on loopback, through a long line, and onto a stick."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.corpus import unique
from tests.bench.lab import Contender, Lab, Table
from tests.bench.measure import Sample, size
from tests.bench.stick import Pace, slow_stick
from tests.bench.world import World, daemon_of
from tests.support.engines import Engine
from tests.support.parts import require_tool

FLOOR = "curl, 4 parallel, without checks (the lower bound)"
CRANE, CRANE_SYNC = "crane `pull --format=oci`", "crane, then `sync`"
SKOPEO, ORAS = "skopeo `copy --all`", "oras `cp --to-oci-layout`"
PACK = "**airgap pack** (checked, synced, signed)"
SAVES = {f"`docker pull`, then `docker save`, {name}": name for name in ("docker20", "docker28c")}
TABLE = Table(
    "pack", "registry to disk", (CRANE, CRANE_SYNC), ("CPU s", "RSS MB", "result MB", "disk peak MB")
)
FAR = Table("far", "registry to disk, 40 ms and 25 MB/s a connection away", (CRANE,))
STICK_PACK = "**airgap pack** (written, read back)"
MEDIUM = "the bytes, divided by these rates"
STICK = Table(
    "stick",
    "registry to a stick, 30 MB/s of writing and 90 MB/s of reading",
    (MEDIUM,),
    ("CPU s", "result MB"),
)
_WAITING_ROUNDS = 3
"""Of what waits for a line or a medium, and hardly depends on the machine."""


def loopback(world: World) -> list[Contender]:
    saves = [
        Contender(TABLE, row, partial(_pull_and_save, row, name), rounds=1, warm=False)
        for row, name in SAVES.items()
    ]
    return [
        Contender(TABLE, FLOOR, _floor),
        *(
            Contender(TABLE, row, partial(_pull, row, argv))
            for row, argv in {CRANE: _crane, CRANE_SYNC: _crane_sync, SKOPEO: _skopeo, ORAS: _oras}.items()
        ),
        Contender(TABLE, PACK, _pack, ours=True),
        *saves,
    ]


def far(world: World) -> list[Contender]:
    return [
        Contender(FAR, CRANE, _far_crane, rounds=_WAITING_ROUNDS, warm=False),
        Contender(FAR, PACK, _far_pack, rounds=_WAITING_ROUNDS, warm=False, ours=True),
    ]


def stick(world: World) -> list[Contender]:
    return [Contender(STICK, STICK_PACK, _stick_pack, rounds=_WAITING_ROUNDS, warm=False, ours=True)]


def script(commands: list[list[str]]) -> list[str]:
    """One process that runs commands one after the other."""
    return ["sh", "-ec", "\n".join(shlex.join(command) for command in commands)]


def _pull(row: str, argv: Callable[[World, Path], list[str]], lab: Lab) -> None:
    with lab.world.scratch() as folder:
        out = folder / "out"
        lab.measure(row, argv(lab.world, out), daemon=daemon_of(lab.world.registry), result=out)
        lab.note(row, _kept(lab.world, out))


def _kept(world: World, out: Path) -> str:
    """How many images have kept their digest."""
    images = world.corpus.first
    kept = sum((out / "blobs" / image.digest.replace(":", "/")).exists() for image in images)
    return f"{kept} of {len(images)} digests kept"


def _floor(lab: Lab) -> None:
    """Each unique blob to a file of its own, the largest first."""
    world = lab.world
    urls = {
        digest: f"http://{world.registry.host}/v2/{image.name.partition(':')[0]}/blobs/{digest}"
        for image in world.corpus.first
        for digest, _, _ in image.blobs
    }
    sizes = unique(world.corpus.first)
    with world.scratch() as folder:
        out = folder / "out"
        out.mkdir()
        lines = [
            f'url = "{urls[digest]}"\noutput = "{out / digest}"\n'
            for digest in sorted(urls, key=lambda digest: -sizes[digest])
        ]
        (folder / "curl").write_text("".join(lines))
        argv = [require_tool("curl"), "-q", "-sS", "--fail", "-K", str(folder / "curl")]
        argv += ["--parallel", "--parallel-immediate", "--parallel-max", "4"]
        lab.measure(FLOOR, argv, daemon=daemon_of(world.registry), result=out)


def _crane(world: World, out: Path, host: str | None = None) -> list[str]:
    references = [f"{host or world.registry.host}/{image.name}" for image in world.corpus.first]
    command = [*world.sid("crane"), "pull", "--insecure", "--format=oci", "--annotate-ref"]
    return [*command, *references, str(out)]


def _crane_sync(world: World, out: Path) -> list[str]:
    return script([_crane(world, out), ["sync", "-f", str(out)]])


def _skopeo(world: World, out: Path) -> list[str]:
    command = [
        *world.sid("skopeo"),
        "--insecure-policy",
        "copy",
        "--quiet",
        "--all",
        "--src-tls-verify=false",
    ]
    return script(
        [
            [*command, f"docker://{world.reference(image)}", f"oci:{out}:{image.name}"]
            for image in world.corpus.first
        ]
    )


def _oras(world: World, out: Path) -> list[str]:
    copy = [*world.sid("oras"), "cp", "--no-tty", "--from-plain-http"]
    return script(
        [
            [
                *(*copy, world.reference(image), "--to-oci-layout"),
                f"{out}:{image.name.replace('/', '-').replace(':', '-')}",
            ]
            for image in world.corpus.first
        ]
    )


def _pack(lab: Lab) -> None:
    world = lab.world
    with world.scratch() as folder:
        home, out = world.fresh_site(world.sites[0], folder), folder / "out"
        words = ("pack", world.first_manifest, "--to", out)
        lab.airgap(PACK, home, *words, daemon=daemon_of(world.registry), result=out)
        lab.note(PACK, _kept(world, next(out.iterdir())))


def _far_crane(lab: Lab) -> None:
    with lab.world.scratch() as folder:
        out = folder / "out"
        lab.measure(CRANE, _crane(lab.world, out, lab.world.far), result=out)


def _far_pack(lab: Lab) -> None:
    world = lab.world
    manifest = world.manifest("far", [f"{world.far}/{image.name}" for image in world.corpus.first])
    with world.scratch() as folder:
        home, out = world.fresh_site(world.sites[0], folder), folder / "out"
        lab.airgap(PACK, home, "pack", manifest, "--to", out, result=out)


def _stick_pack(lab: Lab) -> None:
    """Measure, and add what the bytes of the bundle cost at the rates of the medium alone."""
    world, pace = lab.world, Pace()
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[0], folder)
        with slow_stick(folder / "stick", pace) as medium:
            words = ("pack", world.first_manifest, "--to", medium.mount_point)
            lab.airgap(STICK_PACK, home, *words, result=medium.mount_point)
            carried = size(medium.mount_point)
        lab.note(STICK_PACK, f"{medium.report()['seeks']:,} seeks")
        lab.add(MEDIUM, Sample.of_seconds(carried / pace.write + carried / pace.read, result=carried))


def _pull_and_save(row: str, name: str, lab: Lab) -> None:
    world = lab.world
    engine: Engine = getattr(world, name)
    engine.reset()
    with world.scratch() as folder:
        out = folder / "images.tar"
        references = [world.reference(image) for image in world.corpus.first]
        commands = [[engine._client, "pull", "--quiet", reference] for reference in references]
        commands.append([engine._client, "save", "--output", str(out), *references])
        options = {"env": client_environment(world, engine), "daemon": daemon_of(engine)}
        lab.measure(row, script(commands), **options, disk=engine.folder, result=out)
        lab.note(row, "CPU and RSS without the engine's")
    engine.reset()


def client_environment(world: World, engine: Engine) -> dict[str, str]:
    """What makes the docker client talk to an engine."""
    return {**world.environment(), "DOCKER_HOST": engine.host, "DOCKER_CONTEXT": ""}
