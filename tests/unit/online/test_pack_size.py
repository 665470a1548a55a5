"""A plan whose statement no reader would accept is refused before anything is fetched."""

from pathlib import Path

import pytest

from airgap.bundle.statement import least_statement_bytes
from airgap.errors import UsageError
from airgap.online.collect import planned_images
from airgap.online.pack import refuse_too_large
from tests.support.images import make_index, simple_image
from tests.support.memory_sources import MemorySource
from tests.unit.online.support import Bench, manifest_of, plan_of

IMAGES = {
    "example.com/a:1": simple_image("a"),
    "example.com/multi:1": make_index([simple_image("amd"), simple_image("arm", platform="linux/arm64")]),
}
MANIFEST = manifest_of(*IMAGES)


def test_too_many_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(MANIFEST, registry=MemorySource(dict(IMAGES)))
    whole = len(Bench(tmp_path / "first").pack(MANIFEST, plan).statement.to_bytes())
    least = least_statement_bytes((image.record for image in planned_images(plan)), plan.blobs)
    assert 0.5 * whole < least < whole
    monkeypatch.setattr("airgap.online.pack.MAX_STATEMENT_BYTES", least)
    refuse_too_large(plan)
    monkeypatch.setattr("airgap.online.pack.MAX_STATEMENT_BYTES", least - 1)
    bench = Bench(tmp_path / "second")
    with pytest.raises(UsageError, match="too many images and blobs for one bundle: stack, want"):
        bench.pack(MANIFEST, plan)
    assert [path for path in bench.stick.rglob("*") if path.is_file()] == []
