"""Loading on far hosts: by their own airgap, or from here into their Docker engine through SSH."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.cli.endpoints import Endpoints
from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.ssh import Ssh, SshOptions
from airgap.errors import TransportError, UnavailableError
from airgap.oci.reference import ImageReference
from tests.e2e.airgap import Gap, environment, introduce
from tests.support.engines import Engine
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.parts import require_tool
from tests.support.saves import MemorySink
from tests.support.sshd import Sshd, make_key

pytestmark = pytest.mark.e2e

BASE = Layer.of({"base": noise(3_000_000, 1)})
API = make_image([BASE, Layer.of({"api": b"api"})])
WEB = make_image([BASE, Layer.of({"web": b"web"})])
NAMES = ("example.com/api:1", "example.com/web:1")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sshd]:
    tmp_path.chmod(0o755)
    with Sshd(tmp_path / "far", make_key(tmp_path / "id")) as server:
        (tmp_path / "known_hosts").write_text(server.known_line)
        yield server


def pack(gap: Gap, *, head: str = "") -> Path:
    write_layout(gap.folder / "layout", dict(zip(NAMES, (API, WEB), strict=True)))
    return gap.pack(f"version: 1\nname: stack\n{head}images:\n  - oci: layout\n")


def options(gap: Gap) -> tuple[object, ...]:
    folder = gap.folder
    return "--identity", folder / "id", "--known-hosts", folder / "known_hosts", "--ssh-config", "/dev/null"


def give_engine(far: Sshd, engine: Engine) -> None:
    """A `docker` on the host that talks to this engine."""
    client = far.bin / "docker"
    client.write_text(
        f'#!/bin/sh\nDOCKER_HOST={engine.host} DOCKER_CONTEXT= exec {require_tool("docker")} "$@"\n'
    )
    client.chmod(0o755)


def give_airgap(far: Sshd, home: Path) -> None:
    """An `airgap` on the host, with a site of its own."""
    program = far.bin / "airgap"
    program.write_text(f'#!/bin/sh\nAIRGAP_HOME={home} exec {sys.executable} -m airgap "$@"\n')
    program.chmod(0o755)


def ssh(gap: Gap) -> Ssh:
    folder = gap.folder
    return Ssh(SshOptions(Path("/dev/null"), folder / "known_hosts", (folder / "id",)))


def engine_of(gap: Gap, far: Sshd) -> DockerEngine:
    return DockerEngine(f"docker:ssh://{far.address}", timeout=120, ssh=ssh(gap).dial_engine)


def test_by_the_airgap_there(gap: Gap, far: Sshd) -> None:
    bundle = pack(gap, head="destinations: [plant-7]\n")
    give_airgap(far, gap.offline.home)
    out = gap.folder / "plant"
    answer = gap.online("send", bundle, far.address, "--load", f"oci:{out}", *options(gap))
    [found] = answer.json["hosts"]
    assert (found["state"], found["load"]["way"]) == ("loaded", "by airgap there")
    assert [image["verdict"] for image in found["load"]["images"]] == ["loaded", "loaded"]
    assert Path(found["load"]["receipt"]).parent == gap.offline.home / "receipts"
    assert "not signed by a key that has the role receipt" in found["load"]["receipt_error"]
    assert (out / API.descriptor.digest.path).read_bytes() == API.raw
    again = gap.online("send", bundle, far.address, "--load", f"oci:{out}", *options(gap)).json["hosts"][0]
    assert [image["verdict"] for image in again["load"]["images"]] == ["already there", "already there"]
    assert again["bytes_sent"] == 0


def test_the_receipt_comes_back_over_the_same_link(gap: Gap, far: Sshd) -> None:
    """It is imported where the bundle was sealed; a station on the way keeps it beside the bundle."""
    introduce(gap)
    bundle = pack(gap, head="destinations: [plant-7]\n")
    give_airgap(far, gap.offline.home)
    words = ("send", bundle, far.address, "--load", f"oci:{gap.folder / 'plant'}", *options(gap))
    [found] = gap.online(*words).json["hosts"]
    kept = Path(found["load"]["receipt_kept"])
    assert kept.parent == gap.online.home / "receipts" / "plant-7"
    assert kept.read_bytes() == Path(found["load"]["receipt"]).read_bytes()
    [sent] = gap.online("audit", "report").json["sent"]
    assert sent["state"] == "received"
    shutil.copytree(gap.online.home, gap.folder / "carrier")
    shutil.rmtree(gap.folder / "carrier" / "sent" / "stack")
    carrier = replace(gap.online, home=gap.folder / "carrier")
    [found] = carrier(*words).json["hosts"]
    beside = Path(found["load"]["receipt_kept"])
    assert (beside.parent, found["load"]["alarms"]) == (bundle.parent / "receipts", [])
    assert beside.read_bytes() == Path(found["load"]["receipt"]).read_bytes()


LIES = {"none": "", "garbage": "{}", "another bundle's": "old", "a folder": "/", "endless": "/dev/zero"}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_host_that_lies_about_its_receipt(gap: Gap, far: Sshd, lie: str) -> None:
    """The images are loaded all the same, and nothing is kept."""
    introduce(gap)
    give_airgap(far, gap.offline.home)
    out = f"oci:{gap.folder / 'plant'}"
    old = gap.offline("load", pack(gap), "--to", out).json["receipt"]
    bundle = pack(gap, head="destinations: [plant-7]\n")
    path = {"{}": str(gap.folder / "garbage"), "old": old, "": str(gap.folder / "none")}.get(lie, lie)
    (gap.folder / "garbage").write_text("{}")
    program = far.bin / "airgap"
    program.write_text(
        program.read_text().replace("exec ", "").rstrip()
        + f' | sed \'s|"receipt": .*|"receipt": "{path}",|\'\n'
    )
    [found] = gap.online("send", bundle, far.address, "--load", out, *options(gap)).json["hosts"]
    assert (found["state"], found["load"]["receipt_kept"]) == ("loaded", None)
    assert found["load"]["receipt_error"]
    assert not (gap.online.home / "receipts").exists()


def test_what_the_airgap_there_refuses(gap: Gap, far: Sshd) -> None:
    bundle = pack(gap, head="destinations: [plant-8]\n")
    give_airgap(far, gap.offline.home)
    answer = gap.online(
        "send", bundle, far.address, "--load", f"oci:{gap.folder / 'x'}", *options(gap), code=15
    )
    assert (
        f"error: on {far.address}: the bundle is for another site: stack-0001, want plant-8, got plant-7"
        in answer.err
    )
    [found] = answer.json["hosts"]
    assert (found["state"], found["error"]["kind"]) == ("failed", "DestinationError")
    assert found["files_sent"] > 0, "it is there all the same"


@pytest.mark.parametrize(
    "script",
    [
        "echo not json",
        "echo '{}'",
        'echo \'{"error": {"kind": "SystemExit", "message": "x", "exit_code": 1, "hint": null}}\'; exit 1',
        'echo \'{"error": {"kind": "FormatError", "message": "x", "exit_code": 10, "hint": null}}\'; exit 0',
        "exit 9",
        'echo \'{"error": null, "statement_sha256": "00", "images": [], "receipt": ""}\'',
    ],
)
def test_what_an_airgap_there_must_not_say(gap: Gap, far: Sshd, script: str) -> None:
    program = far.bin / "airgap"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo airgap 9.9 && exit\n[ "$1" = trust ] && exit\n{script}\n'
    )
    program.chmod(0o755)
    gap.online("send", pack(gap), far.address, "--load", "docker", *options(gap), code=20)


def test_from_here_into_its_engine(gap: Gap, far: Sshd, docker20: Engine) -> None:
    bundle = pack(gap)
    give_engine(far, docker20)
    answer = gap.online("send", bundle, far.address, "--load", "docker", *options(gap))
    [found] = answer.json["hosts"]
    assert (found["state"], found["load"]["way"]) == ("loaded", "from here into its Docker engine")
    assert [image["verdict"] for image in found["load"]["images"]] == ["loaded", "loaded"]
    assert not (far.home / "airgap-bundles").exists(), "nothing but layers went there"
    for name, image in zip(NAMES, (API, WEB), strict=True):
        assert docker20.inspect(name)["Id"] == str(image.config)
    again = gap.online("send", bundle, far.address, "--load", "docker", *options(gap)).json["hosts"][0]
    assert [image["verdict"] for image in again["load"]["images"]] == ["already there", "already there"]


def test_a_bundle_for_another_site_is_not_loaded_from_here(gap: Gap, far: Sshd, docker20: Engine) -> None:
    give_engine(far, docker20)
    bundle = pack(gap, head="destinations: [plant-7]\n")
    gap.online("send", bundle, far.address, "--load", "docker", *options(gap), code=15)
    assert docker20.images() == []


def test_load_and_pack_through_ssh(gap: Gap, far: Sshd, docker20: Engine) -> None:
    """`docker:ssh://` as a target and as a source, with the keys of ssh_config."""
    give_engine(far, docker20)
    home = gap.folder / "person"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(
        f"Host engine\n HostName 127.0.0.1\n Port {far.port}\n User root\n IdentityFile {gap.folder / 'id'}\n"
        f" UserKnownHostsFile {gap.folder / 'known_hosts'}\n"
    )
    with environment(HOME=str(home)):
        loaded = gap.offline("load", pack(gap), "--to", "docker:ssh://engine").json
        assert {image["verdict"] for image in loaded["images"]} == {"loaded"}
        images = "".join(f"  - {{ref: {name}, source: 'docker:ssh://engine'}}\n" for name in NAMES)
        (gap.folder / "back.yaml").write_text(f"version: 1\nname: back\nimages:\n{images}")
        packed = gap.online("pack", gap.folder / "back.yaml", "--to", gap.folder / "back").json
        assert [image["reference"] for image in packed["images"]] == list(NAMES)
        with environment(DOCKER_HOST="ssh://engine"):
            again = gap.offline("load", gap.folder / "stick" / "stack-0001", "--to", "docker").json
        assert {image["verdict"] for image in again["images"]} == {"already there"}
        (gap.folder / "known_hosts").write_text("")
        answer = gap.offline(
            "load", gap.folder / "stick" / "stack-0001", "--to", "docker:ssh://engine", code=20
        )
        assert "unknown host key" in answer.err


def test_load_with_a_key_and_known_hosts_of_its_own(gap: Gap, far: Sshd, docker20: Engine) -> None:
    give_engine(far, docker20)
    bundle, target = pack(gap), f"docker:ssh://{far.address}"
    loaded = gap.offline("load", bundle, "--to", target, *options(gap)).json
    assert {image["verdict"] for image in loaded["images"]} == {"loaded"}
    with environment(DOCKER_HOST=f"ssh://{far.address}"):
        again = gap.offline("load", bundle, "--to", "docker", *options(gap)).json
    assert {image["verdict"] for image in again["images"]} == {"already there"}
    (gap.folder / "known_hosts").write_text("")
    assert "unknown host key" in gap.offline("load", bundle, "--to", target, *options(gap), code=20).err


def test_a_stream_that_breaks_here_loads_nothing(gap: Gap, far: Sshd, docker20: Engine) -> None:
    give_engine(far, docker20)
    engine = engine_of(gap, far)

    def broken() -> Iterator[bytes]:
        yield bytes(1 << 20)
        raise TransportError("the source broke off")

    with pytest.raises(TransportError, match="the source broke off"):
        engine.load(broken())
    assert engine.find(ImageReference.parse(NAMES[0])) is None
    assert engine.info().version.startswith("20.10")


def test_one_connection_serves_many_questions(gap: Gap, far: Sshd, docker20: Engine) -> None:
    give_engine(far, docker20)
    engine = engine_of(gap, far)
    for _ in range(20):
        assert engine.find(ImageReference.parse(NAMES[0])) is None
    assert far.log().count("Starting session: command for root") <= 3


def test_no_docker_there(gap: Gap, far: Sshd) -> None:
    client = far.bin / "docker"
    client.write_text("#!/bin/sh\necho no engine for you >&2\nexit 1\n")
    client.chmod(0o755)
    with pytest.raises(UnavailableError, match="no engine for you"):
        engine_of(gap, far).info()
    sink = MemorySink()
    with pytest.raises(UnavailableError):
        engine_of(gap, far).export([ImageReference.parse(NAMES[0])], sink, lambda _: None)


def test_the_endpoints_of_a_command_share_its_ssh(gap: Gap, far: Sshd, docker20: Engine) -> None:
    give_engine(far, docker20)
    target = Endpoints(ssh=ssh(gap)).target(f"docker:ssh://{far.address}")
    assert target.info().version.startswith("20.10")
