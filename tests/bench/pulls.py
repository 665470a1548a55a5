"""A: registry -> disk."""

import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.corpus import unique
from tests.bench.lab import Contender, Lab
from tests.bench.world import World, daemon_of
from tests.support.engines import Engine
from tests.support.parts import require_tool

TABLE = "A: registry to disk"
FLOOR = "floor: curl, 4 parallel, unverified"
FLOOR_4 = "floor: 4 curls, unverified"
CRANE = "crane pull --format=oci"
SKOPEO_OLD, SKOPEO = "skopeo 1.9 copy --all oci:", "skopeo (sid) copy --all oci:"
ORAS, IMGPKG = "oras cp --to-oci-layout", "imgpkg copy --to-tar"
PACK = "airgap pack"
SAVES = {f"docker pull + docker save ({name})": name for name in ("docker20", "docker28c")}

Argv = Callable[[World, Path], list[str]]


def contenders(world: World) -> list[Contender]:
    found = [
        Contender(TABLE, FLOOR, partial(_floor, FLOOR, 1)),
        Contender(TABLE, FLOOR_4, partial(_floor, FLOOR_4, 4)),
        Contender(TABLE, CRANE, partial(_pull, CRANE, _crane)),
        Contender(TABLE, SKOPEO_OLD, partial(_pull, SKOPEO_OLD, _skopeo_old)),
        Contender(TABLE, SKOPEO, partial(_pull, SKOPEO, _skopeo)),
        Contender(TABLE, ORAS, partial(_pull, ORAS, _oras)),
        Contender(TABLE, PACK, _pack),
    ]
    if shutil.which("imgpkg"):
        found.append(Contender(TABLE, IMGPKG, partial(_pull, IMGPKG, _imgpkg)))
    for row, engine in SAVES.items():
        turn = partial(_pull_and_save, row, engine)
        found.append(Contender(TABLE, row, turn, rounds=1, warm=False))
    return found


def script(commands: list[list[str]]) -> list[str]:
    """One process that runs commands one after the other."""
    return ["sh", "-ec", "\n".join(shlex.join(command) for command in commands)]


def _pull(row: str, argv: Argv, lab: Lab) -> None:
    with lab.world.scratch() as folder:
        out = folder / "out"
        lab.measure(row, argv(lab.world, out), daemon=daemon_of(lab.world.registry), result=out)
        if out.is_dir():
            lab.note(row, _kept(lab.world, out))


def _kept(world: World, out: Path) -> str:
    """How many images have kept their digest."""
    images = world.corpus.first
    kept = sum((out / "blobs" / image.digest.replace(":", "/")).exists() for image in images)
    return f"{kept} of {len(images)} digests kept"


def _floor(row: str, processes: int, lab: Lab) -> None:
    """Each unique blob to a file of its own."""
    world = lab.world
    with world.scratch() as folder:
        out = folder / "out"
        out.mkdir()
        blobs: dict[str, str] = {}
        for image in world.corpus.first:
            for digest, _, _ in image.blobs:
                blobs[digest] = (
                    f"http://{world.registry.host}/v2/{image.name.partition(':')[0]}/blobs/{digest}"
                )
        sizes = unique(world.corpus.first)
        ordered = sorted(blobs, key=lambda digest: -sizes[digest])
        commands = []
        for number in range(processes):
            config = folder / f"curl-{number}"
            lines = [
                f'url = "{blobs[digest]}"\noutput = "{out / digest}"\n'
                for digest in ordered[number::processes]
            ]
            config.write_text("".join(lines))
            commands.append([require_tool("curl"), "-q", "-sS", "--fail", "-K", str(config)])
        if processes == 1:
            argv = [*commands[0], "--parallel", "--parallel-immediate", "--parallel-max", "4"]
        else:
            argv = ["sh", "-ec", "\n".join([*(f"{shlex.join(command)} &" for command in commands), "wait"])]
        lab.measure(row, argv, daemon=daemon_of(world.registry), result=out)


def _crane(world: World, out: Path) -> list[str]:
    references = [world.reference(image) for image in world.corpus.first]
    return [*world.sid("crane"), "pull", "--format=oci", "--annotate-ref", *references, str(out)]


def _skopeo_with(command: list[str], world: World, out: Path) -> list[str]:
    options = ["--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false"]
    return script(
        [
            [*command, *options, f"docker://{world.reference(image)}", f"oci:{out}:{image.name}"]
            for image in world.corpus.first
        ]
    )


def _skopeo(world: World, out: Path) -> list[str]:
    return _skopeo_with(world.sid("skopeo"), world, out)


def _skopeo_old(world: World, out: Path) -> list[str]:
    return _skopeo_with([require_tool("skopeo")], world, out)


def _oras(world: World, out: Path) -> list[str]:
    copy = [*world.sid("oras"), "cp", "--no-tty", "--from-plain-http"]
    return script(
        [
            [
                *copy,
                world.reference(image),
                "--to-oci-layout",
                f"{out}:{image.name.replace('/', '-').replace(':', '-')}",
            ]
            for image in world.corpus.first
        ]
    )


def _imgpkg(world: World, out: Path) -> list[str]:
    lock = world.folder / "images.lock.yml"
    lines = ["apiVersion: imgpkg.carvel.dev/v1alpha1", "kind: ImagesLock", "images:"]
    images = [f"{world.registry.host}/{i.name.partition(':')[0]}@{i.digest}" for i in world.corpus.first]
    lock.write_text("\n".join([*lines, *(f"- image: {image}" for image in images), ""]))
    return ["imgpkg", "copy", "--lock", str(lock), "--to-tar", str(out), "--registry-insecure"]


def _pack(lab: Lab) -> None:
    world = lab.world
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[0], folder)
        out = folder / "out"
        words = ("pack", world.first_manifest, "--to", out)
        lab.airgap(PACK, home, *words, daemon=daemon_of(world.registry), result=out)
        lab.note(PACK, _kept(world, next(out.iterdir())) + ", signed")


def _pull_and_save(row: str, name: str, lab: Lab) -> None:
    world = lab.world
    engine: Engine = getattr(world, name)
    engine.reset()
    with world.scratch() as folder:
        out = folder / "images.tar"
        references = [world.reference(image) for image in world.corpus.first]
        client = [engine._client]
        commands = [[*client, "pull", "--quiet", reference] for reference in references]
        commands.append([*client, "save", "--output", str(out), *references])
        lab.measure(
            row,
            script(commands),
            env=client_environment(engine),
            daemon=daemon_of(engine),
            disk=engine.folder,
            result=out,
        )
    engine.reset()


def client_environment(engine: Engine) -> dict[str, str]:
    """What makes the docker client talk to an engine."""
    return {"DOCKER_HOST": engine.host, "DOCKER_CONTEXT": ""}
