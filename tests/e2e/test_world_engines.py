"""Which engine is meant, on real ones: contexts as `docker context` makes them, digests, several IDs, a death."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.reference import ImageReference
from tests.e2e.airgap import Gap, environment
from tests.e2e.corpus import push
from tests.support.engines import Engine, start_docker20
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.parts import require_tool, run
from tests.support.registries import RealRegistry
from tests.support.saves import MemorySink, hybrid, item, tar
from tests.support.sshd import Sshd, make_key
from tests.world.table import Kind, row
from tests.world.test_engines import context

NAMES = ("a", "b", "c")


def pulled(engine: Engine, registry: RealRegistry) -> dict[str, str]:
    """Images that the engine has from a registry, some by digest only, and their digests there."""
    digests = {}
    for name in NAMES:
        image = make_image([Layer.of({name: noise(50_000, ord(name))})], label=name)
        push(registry, {f"t/{name}:1": image})
        digests[name] = str(image.descriptor.digest)
        engine.docker("pull", f"{registry.host}/t/{name}@{digests[name]}")
    engine.docker("tag", f"{registry.host}/t/c@{digests['c']}", "t/c:1")
    return digests


@row(
    Kind.LOGINS, "Docker 20.10 and 28, classic store", "knows an image by the digest of a registry, and by no manifest",
    "measured", "finds it by that digest, carries it as `docker, repacked`, and says that the engine's word is all there is",
)  # fmt: skip
def test_images_pinned_to_the_digest_of_a_registry(engine: Engine, registry: RealRegistry, gap: Gap) -> None:
    digests = pulled(engine, registry)
    source = f"docker:{engine.host}"
    entries = [f"  - {{ref: '{registry.host}/t/{n}@{digests[n]}', source: '{source}'}}" for n in ("a", "b")]
    entries += [f"  - {{ref: 't/c:1', source: '{source}'}}"]
    entries += [
        f"  - {{ref: 't/d:1', as: 't/d:1', digest: '{engine.inspect('t/c:1')['Id']}', source: '{source}'}}"
    ]
    manifest = "\n".join(["version: 1", "name: pinned", "images:", *entries]) + "\n"
    bundle = gap.pack(manifest)
    images = json.loads((bundle / "statement.json").read_text())["predicate"]["images"]
    assert len(images) == 4
    classic = "containerd" not in engine.kind
    assert {image["source"] for image in images} == {"docker, repacked" if classic else "docker"}
    if not classic:
        assert [image["digest"] for image in images[:2]] == [digests["a"], digests["b"]]
    engine.reset()
    gap.offline("load", bundle, "--to", source)
    assert engine.inspect("t/c:1")


@row(
    Kind.LOGINS, "docker 20.10 to 28.5", "leaves a context in ~/.docker, which docker alone follows",
    "measured", "follows it, prints the engine, and records it in ledger and receipt",
)  # fmt: skip
@pytest.mark.parametrize("how", ["DOCKER_CONTEXT", "currentContext"])
def test_a_context_that_docker_made(docker28c: Engine, gap: Gap, tmp_path: Path, how: str) -> None:
    docker, config = require_tool("docker"), tmp_path / "config"
    settings = {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "", "DOCKER_HOST": ""}
    run(
        docker,
        "context",
        "create",
        "plant",
        "--docker",
        f"host={docker28c.host}",
        env={"DOCKER_CONFIG": str(config)},
    )
    if how == "DOCKER_CONTEXT":
        settings["DOCKER_CONTEXT"] = "plant"
    else:
        run(docker, "context", "use", "plant", env={"DOCKER_CONFIG": str(config)})
    image = make_image([Layer.of({"x": b"x"})])
    with environment(**settings):
        DockerEngine().load([tar(hybrid({"docker.io/t/x:1": image}, items=[item(image, "t/x:1")]))])
        bundle = gap.pack("version: 1\nname: ctx\nimages:\n  - {ref: 't/x:1', source: docker}\n")
        docker28c.reset()
        answer = gap.offline("load", bundle, "--to", "docker").json
    assert docker28c.inspect("t/x:1")["Id"] == str(image.descriptor.digest)
    assert answer["engine"].startswith(f"Docker {docker28c.version}")
    assert answer["engine"].endswith(f"{docker28c.host} (context plant)")
    ledger = (gap.offline.home / "ledger.jsonl").read_text()
    assert json.dumps(answer["engine"]) in ledger
    [receipt] = gap.offline("receipt", "show", answer["receipt"]).json["receipts"]
    assert (receipt["target"], receipt["engine"]) == ("docker", answer["engine"])


@row(
    Kind.LOGINS, "docker save 28.5, classic store", "lists one of two IDs, or of a tag and an ID, in index.json",
    "moby/moby#51389", "packs all of them",
)  # fmt: skip
def test_several_ids(engine: Engine, registry: RealRegistry) -> None:
    digests = pulled(engine, registry)
    docker = DockerEngine(f"docker:{engine.host}", timeout=120)
    ids = [engine.inspect(f"{registry.host}/t/{name}@{digests[name]}")["Id"] for name in NAMES]
    wanted = [ImageReference.parse(f"any/{n}@{i}") for n, i in zip(NAMES, ids, strict=True)]
    wanted.append(ImageReference.parse("t/c:1"))
    found = docker.export(wanted, MemorySink(), lambda _: None)
    assert [str(image.image_id) for image in found] == [*ids, ids[2]]


@row(
    Kind.LOGINS, "dockerd", "is killed in the middle of a load", "measured",
    "fails in words, with the question whether the engine still runs",
)  # fmt: skip
def test_an_engine_that_is_killed_in_the_middle() -> None:
    with start_docker20() as engine:
        docker = DockerEngine(f"docker:{engine.host}", timeout=60)
        docker.info()
        (dockerd,) = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_dockerd(path, engine)]

        def chunks() -> Iterator[bytes]:
            for number in range(2000):
                if number == 20:
                    os.kill(dockerd, signal.SIGKILL)
                yield b"\0" * 100_000

        with pytest.raises(UnavailableError, match="load failed") as caught:
            docker.load(chunks())
        assert "is the engine still running?" in (caught.value.hint or "")
        assert "Error" not in str(caught.value)
        with pytest.raises(EndpointError, match="the engine does not answer"):
            DockerEngine(f"docker:{engine.host}").info()


def is_dockerd(process: Path, engine: Engine) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"dockerd") and str(engine.folder).encode() in b" ".join(words)


@row(
    Kind.LOGINS, "docker CLI 24 to 28", "reaches a rootless engine on another machine by `ssh://HOST/SOCKET`, also in a context",
    "docker/cli#4073", "reaches it too, through its own SSH",
)  # fmt: skip
def test_a_context_over_ssh_with_a_socket(docker28: Engine, gap: Gap, tmp_path: Path) -> None:
    docker, config = require_tool("docker"), tmp_path / "config"
    tmp_path.chmod(0o755)
    with Sshd(tmp_path / "far", make_key(tmp_path / "id")) as far:
        (tmp_path / "known_hosts").write_text(far.known_line)
        (far.bin / "docker").symlink_to(docker)
        host = f"ssh://{far.address}{docker28.socket}"
        context(config, "far", host)  # which docker 20.10 would not make
        bundle = gap.pack(f"version: 1\nname: far\nimages:\n  - oci: {layout(tmp_path)}\n")
        options = (
            "--identity",
            tmp_path / "id",
            "--known-hosts",
            tmp_path / "known_hosts",
            "--ssh-config",
            "/dev/null",
        )
        with environment(DOCKER_CONFIG=str(config), DOCKER_CONTEXT="far", DOCKER_HOST=""):
            answer = gap.offline("load", bundle, "--to", "docker", *options).json
    assert answer["engine"].endswith(f"{host} (context far)")
    assert docker28.inspect("t/x:1")


def layout(folder: Path) -> Path:
    write_layout(folder / "layout", {"docker.io/t/x:1": make_image([Layer.of({"x": b"x"})])})
    return folder / "layout"
