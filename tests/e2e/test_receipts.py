"""Receipts of real engines and registries agree with the bundle that was sealed, and raise no alarm."""

from pathlib import Path

import pytest

from airgap.site import Site
from airgap.trust.root import SignedRoot
from tests.cli.conftest import PASSPHRASE
from tests.e2e.airgap import Gap, environment, make_gap, manifest_of
from tests.e2e.corpus import corpus, push
from tests.support.bundles import sign_root
from tests.support.containerds import RealContainerd, RealPodman
from tests.support.engines import Engine
from tests.support.registries import RealRegistry
from tests.unit.review.conftest import knows


@pytest.fixture
def gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    gap = make_gap(tmp_path, capsys)
    site, other = Site(gap.online.home), Site(gap.offline.home)
    key = site.signing_key(None, PASSPHRASE.encode)
    root = sign_root(knows(site.root().root, (other.name, other.key)), key)
    site.install_root(SignedRoot.parse(root, "root"))
    return gap


def taken_in(gap: Gap, registry: RealRegistry, target: str, *words: str) -> None:
    """Load all kinds of images, twice, and bring the receipts back."""
    images = corpus()
    push(registry, images)
    bundle = gap.pack(manifest_of(*(f"{registry.host}/{name}" for name in images), platforms="linux/amd64"))
    for _ in range(2):
        receipt = gap.offline("load", bundle, "--to", target, *words).json["receipt"]
        [value] = gap.online("receipt", "import", receipt).json["receipts"]
        assert value["alarms"] == []
    [sent] = gap.online("audit", "report").json["sent"]
    assert (sent["state"], sent["disputed"]) == ("received", [])


def test_docker(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    taken_in(gap, registry, f"docker:{engine.host}")


def test_podman(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    taken_in(gap, registry, f"podman:unix://{podman.socket}")


def test_registry(gap: Gap, registry: RealRegistry) -> None:
    taken_in(gap, registry, f"registry:{registry.host}/mirror")


@pytest.mark.parametrize("pin", ["--pin", "--no-pin"])
def test_containerd(gap: Gap, registry: RealRegistry, containerd: RealContainerd, pin: str) -> None:
    with environment(**containerd.environment):
        taken_in(gap, registry, f"containerd:receipts{len(pin)}", pin)
