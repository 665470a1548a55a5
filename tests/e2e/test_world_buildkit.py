"""Images that BuildKit built: one and the same empty layer for each instruction that changes nothing."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.send.test_load import far, give_engine, options
from tests.support.engines import Engine
from tests.support.parts import require, require_tool, run
from tests.support.registries import RealRegistry
from tests.support.sid import sid_root
from tests.support.sshd import Sshd
from tests.world.table import Kind, row

__all__ = ["far"]

EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
_FILES = {
    "base": "FROM scratch\nCOPY base /srv/base\nWORKDIR /srv\nWORKDIR /srv\n",
    "one": "FROM base\nCOPY one /srv/one\nWORKDIR /srv\nENV NAME=one\nWORKDIR /\nWORKDIR /srv\n",
    "two": "FROM base\nCOPY two /srv/two\nWORKDIR /srv\n",
    "one-2": "FROM base\nCOPY two /srv/one\nWORKDIR /srv\nWORKDIR /\nCOPY one /srv/more\nWORKDIR /srv\n",
}


CASES = (
    ("docker28c", "docker20", "socket"),
    ("docker28c", "docker28", "socket"),
    ("docker28c", "docker28c", "socket"),
    ("docker28", "docker20", "socket"),
    ("docker28c", "docker20", "ssh"),
    ("docker28c", "docker28", "send"),
)
"""Who builds, who gets the images, and how it is reached."""


@pytest.fixture(params=CASES, ids=" ".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return request.param


@pytest.fixture(scope="module")
def built_by(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], dict[str, str]]]:
    """The names in a registry of what an engine has built; each engine builds once."""
    plugin = sid_root() / "usr/libexec/docker/cli-plugins/docker-buildx"
    require(plugin.exists(), "docker-buildx is not in the Debian sid root (tests/install.sh installs it)")
    folder = tmp_path_factory.mktemp("built")
    (folder / "docker" / "cli-plugins").mkdir(parents=True)
    (folder / "docker" / "cli-plugins" / plugin.name).symlink_to(plugin)
    with RealRegistry(folder / "registry") as registry:
        yield cache(lambda kind: build(kind, request.getfixturevalue(f"session_{kind}"), registry, folder))


def build(kind: str, engine: Engine, registry: RealRegistry, folder: Path) -> dict[str, str]:
    context = folder / kind
    context.mkdir()
    for name in ("base", "one", "two"):
        (context / name).write_text(name * 300)
    home = {"DOCKER_HOST": engine.host, "DOCKER_CONTEXT": "", "DOCKER_CONFIG": str(folder / "docker")}
    found = {}
    engine.reset()
    for name, text in _FILES.items():
        found[name] = f"{registry.host}/{kind}/{name}:1"
        (context / "Dockerfile").write_text(text.replace("FROM base", f"FROM {found['base']}"))
        run(require_tool("docker"), "buildx", "build", "--tag", found[name], context, env=home)
        engine.docker("push", found[name])
    assert engine.inspect(found["one"])["RootFS"]["Layers"].count(EMPTY) >= 4
    return found


@pytest.fixture
def built(case: tuple[str, str, str], built_by: Callable[[str], dict[str, str]]) -> dict[str, str]:
    """The names of the built images in the registry."""
    return built_by(case[0])


@pytest.fixture
def engine(case: tuple[str, str, str], built: dict[str, str], request: pytest.FixtureRequest) -> Engine:
    """Empty, also where it has built them."""
    assert built
    return request.getfixturevalue(case[1])


def load(gap: Gap, way: str, far: Sshd, engine: Engine, bundle: Path) -> list[str]:
    """The verdicts."""
    give_engine(far, engine)
    if way == "send":
        answer = gap.online("send", bundle, far.address, "--load", "docker", *options(gap)).json
        return [image["verdict"] for image in answer["hosts"][0]["load"]["images"]]
    over = {"socket": engine.host, "ssh": f"ssh://{far.address}"}[way]
    keys = options(gap) if way == "ssh" else ()
    answer = gap.offline("load", bundle, "--to", f"docker:{over}", *keys).json
    return [image["verdict"] for image in answer["images"]]


@row(
    Kind.IMAGES,
    "BuildKit in Docker 28.5",
    "writes one and the same empty layer for each WORKDIR or RUN that changes nothing",
    "moby/buildkit#6543",
    "brings it for each place that a classic engine lacks: in one bundle, as an update, and as a delta",
)
def test_two_applications_an_update_and_a_delta(
    gap: Gap, built: dict[str, str], engine: Engine, far: Sshd, case: tuple[str, str, str]
) -> None:
    way = case[2]
    first = gap.pack(manifest_of(built["one"], built["two"]))
    assert load(gap, way, far, engine, first) == ["loaded", "loaded"], "two on one base, into an empty engine"
    engine.docker("create", built["one"], "/x")
    engine.docker("create", built["two"], "/x")
    delta = gap.pack(manifest_of(built["one-2"]), "--since", 1)
    assert load(gap, way, far, engine, delta) == ["loaded"]
    engine.docker("create", built["one-2"], "/x")
    engine.reset()
    base, update = gap.pack(manifest_of(built["base"])), gap.pack(manifest_of(built["one"]))
    assert load(gap, way, far, engine, base) == ["loaded"]
    assert load(gap, way, far, engine, update) == ["loaded"]
    engine.docker("create", built["one"], "/x")
