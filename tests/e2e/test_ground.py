"""The ground itself: each real part starts, does what the other tests need of it, and leaves nothing behind."""

import contextlib
import os
import re
from pathlib import Path

import pytest

from tests.support.engines import Engine, start_docker20
from tests.support.images import Image, make_index, simple_image, write_layout
from tests.support.parts import CommandFailedError, run
from tests.support.registries import RealRegistry

NAME = "acme/hello:1.0"


@pytest.fixture
def image() -> Image:
    return simple_image("ground")


@pytest.fixture
def pushed(registry: RealRegistry, image: Image, tmp_path: Path, skopeo) -> str:
    """The reference of `image` in the plain registry."""
    layout = write_layout(tmp_path / "layout", {NAME: image})
    reference = f"{registry.host}/{NAME}"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:{NAME}", f"docker://{reference}")
    return reference


def store(engine: Engine) -> Path:
    """Where the engine keeps its images' documents (and blobs, in the containerd store)."""
    kept = (
        "containerd/daemon/io.containerd.content.v1.content/blobs"
        if "containerd" in engine.kind
        else "image/overlay2/imagedb"
    )
    return engine.folder / "data" / kept


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_engine_pulls_and_is_empty_after_reset(engine: Engine, pushed: str, image: Image):
    before = files_below(store(engine))  # a load that was cut off keeps its content for a while
    engine.docker("pull", pushed)
    found = engine.inspect(pushed)
    by_name = f"{pushed.rpartition(':')[0]}@{image.descriptor.digest}"
    assert found["RepoDigests"] == [by_name]
    assert found["Id"] == str(image.descriptor.digest if "containerd" in engine.kind else image.config)
    engine.docker("create", pushed)
    assert set(files_below(store(engine))) > set(before)
    engine.reset()
    assert engine.images() == []
    assert set(files_below(store(engine))) <= set(before)


def test_reset_removes_a_broken_tag(docker28c: Engine, image: Image, tmp_path: Path):
    before = files_below(store(docker28c))
    layout = write_layout(tmp_path / "layout", {NAME: make_index([image])})
    (layout / image.layers[0].path).unlink()
    docker28c.docker("load", input=run("tar", "-C", layout, "-c", ".").stdout)
    docker28c.reset()
    assert set(files_below(store(docker28c))) <= set(before)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("docker20", r"20\.10\.\d+ classic"),
        ("docker28", r"28\.[\d.]+ classic"),
        ("docker28c", r"28\.[\d.]+ containerd"),
    ],
)
def test_engines_are_what_their_names_say(request: pytest.FixtureRequest, name: str, kind: str):
    engine = request.getfixturevalue(name)
    assert re.fullmatch(kind, engine.kind)
    assert len(os.fsencode(engine.socket)) < 100


def test_an_engine_has_its_own_containerd(engine: Engine):
    assert (engine.folder / "exec/containerd/containerd.sock").is_socket()


def test_crane_and_skopeo_agree_on_the_digest(pushed: str, image: Image, sid, skopeo):
    assert sid("crane", "digest", "--insecure", pushed).stdout.decode().strip() == str(
        image.descriptor.digest
    )
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{pushed}").stdout == image.raw


def test_tools_of_sid_see_the_tests_folder(sid, tmp_path: Path):
    (tmp_path / "in").write_bytes(b"x")
    sid("cp", tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"x"


@pytest.mark.parametrize("tool", ["containerd", "cosign", "crane", "ctr", "oras", "podman", "skopeo"])
def test_sid_has_the_tools(sid, tool: str):
    sid("which", tool)


def test_a_login_is_asked_for(auth_registry: RealRegistry, image: Image, tmp_path: Path, skopeo):
    layout = write_layout(tmp_path / "layout", {NAME: image})
    copy = (
        "copy",
        "--dest-tls-verify=false",
        f"oci:{layout}:{NAME}",
        f"docker://{auth_registry.host}/{NAME}",
    )
    with pytest.raises(CommandFailedError, match="authentication required"):
        skopeo(*copy)
    skopeo(*copy, "--dest-creds", f"{auth_registry.user}:{auth_registry.password}")
    assert '"PUT' in auth_registry.log


def test_tls_holds_with_its_ca_only(tls_registry: RealRegistry, sid, openssl):
    with pytest.raises(CommandFailedError, match="unknown authority"):
        sid("crane", "catalog", tls_registry.host)
    sid("crane", "catalog", tls_registry.host, env={"SSL_CERT_FILE": str(tls_registry.ca_file)})
    openssl("verify", "-CAfile", tls_registry.ca_file, tls_registry.folder / "server.pem")


def test_an_engine_leaves_nothing_behind():
    with start_docker20() as engine:
        folder = engine.folder
        assert processes_naming(folder)
    assert not folder.exists()
    assert processes_naming(folder) == []
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def processes_naming(folder: Path) -> list[str]:
    """The command lines that name `folder`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return [line for line in lines if str(folder) in line]
