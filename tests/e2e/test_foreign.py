"""Images for another platform than the engine's, on every real engine."""

import json
from pathlib import Path

import pytest

from airgap.endpoints.ports import EngineTarget
from airgap.oci.reference import ImageReference
from tests.e2e.airgap import make_gap, manifest_of
from tests.e2e.corpus import push
from tests.e2e.test_stream_targets import target
from tests.support.images import make_index, simple_image
from tests.support.registries import RealRegistry

__all__ = ["target"]

ARM, AMD = (simple_image(name, platform=f"linux/{name}") for name in ("arm64", "amd64"))
FORMS = {"lone": ARM, "index": make_index([ARM]), "sparse": make_index([AMD, ARM])}


@pytest.mark.parametrize("form", FORMS)
def test_foreign(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    registry: RealRegistry,
    target: EngineTarget,
    form: str,
) -> None:
    if str(target.info().platform) != "linux/amd64":
        pytest.skip("the engine is not for linux/amd64")
    gap = make_gap(tmp_path, capsys)
    push(registry, {"acme/x:1": FORMS[form]})
    name = f"{registry.host}/acme/x:1"
    bundle = gap.pack(manifest_of(name, platforms="linux/arm64"))
    refused = target.info().one_platform and form != "lone"
    answer = gap.offline("load", bundle, "--to", target.name, code=18 if refused else 0)
    if refused:
        assert "the image has no platform for this engine" in answer.err
        assert target.find(ImageReference.parse(name)) is None
    else:
        assert "is for linux/arm64" in answer.err
        assert [image["verdict"] for image in json.loads(answer.out)["images"]] == ["loaded"]
