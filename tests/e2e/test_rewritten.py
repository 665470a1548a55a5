"""A Compose file crosses the gap with its images, and Compose on the other side finds them by its new names."""

from pathlib import Path

import pytest

from tests.e2e.airgap import Gap
from tests.e2e.corpus import push
from tests.e2e.test_discover_compose import COMPOSE
from tests.support.engines import Engine
from tests.support.images import simple_image
from tests.support.parts import CommandFailedError
from tests.support.registries import RealRegistry
from tests.support.sid import Sid

TEXT = """name: shop  # kept
x-image: &web HOST/acme/web:1
services:
  web: {image: *web, network_mode: none, command: [x]}
  api:
    image: "HOST/acme/api:${TAG:-2}"
    network_mode: none
    command: [x]
"""
NAMES = ("plant.example/acme/web:1", "plant.example/acme/api:2")


@pytest.fixture
def project(tmp_path: Path, registry: RealRegistry) -> Path:
    push(registry, {"acme/web:1": simple_image("web"), "acme/api:2": simple_image("api")})
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "compose.yaml").write_text(TEXT.replace("HOST", registry.host))
    return folder


def carried(gap: Gap, project: Path, registry: RealRegistry, form: str, engine: Engine) -> Path:
    """Carry the images and the rewritten file to the engine and a folder; return that folder."""
    source, manifest, copies = project / "compose.yaml", project / "stack.yaml", project / "off"
    gap.online("discover", source, "-o", manifest, "--name", "stack", "--platform", "linux/amd64")
    gap.online("lock", manifest)
    words = (
        "--lock",
        project / "stack.lock.yaml",
        "--names",
        form,
        "--map",
        f"{registry.host}=plant.example",
    )
    gap.online("discover", source, "--rewrite", copies, *words)
    with manifest.open("a") as file:
        file.write("files:\n  - {folder: off, match: '**/*'}\n")
    gap.online("lock", manifest)
    bundle = gap.online("pack", manifest, "--to", gap.folder / "stick").json["bundle"]
    gap.offline(
        "load", bundle, "--to", f"docker:{engine.host}", "--files-to", gap.folder / "site",
        "--map", f"{registry.host}=plant.example",
    )  # fmt: skip
    return gap.folder / "site"


def create(sid: Sid, site: Path, engine: Engine) -> None:
    """Let Compose create the containers, which are removed again. Raises `CommandFailedError`."""
    words = (COMPOSE, "-f", site / "compose.yaml")
    try:
        sid(*words, "create", "--pull", "never", env={"DOCKER_HOST": engine.host})
    finally:
        sid(*words, "rm", "--force", env={"DOCKER_HOST": engine.host})


@pytest.mark.parametrize("form", ["both", "tag"])
def test_compose_finds_the_images_by_their_new_names(
    gap: Gap, project: Path, registry: RealRegistry, engine: Engine, sid: Sid, form: str
) -> None:
    site = carried(gap, project, registry, form, engine)
    printed = sid(COMPOSE, "-f", site / "compose.yaml", "config", "--images").stdout.decode().split()
    assert {name.partition("@")[0] for name in printed} == set(NAMES)
    assert all(("@sha256:" in name) is (form == "both") for name in printed)
    assert (site / "compose.yaml").read_text().startswith("name: shop  # kept\nx-image: &web plant.example/")
    if form == "both" and engine.kind.endswith("classic"):  # these stores keep no digests of what is loaded
        with pytest.raises(CommandFailedError, match="No such image"):
            create(sid, site, engine)
    else:
        create(sid, site, engine)
