"""Charts, read by Helm's own engine from the registry that `load` filled, and pushed by it beside ours."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airgap.oci.digest import Digest
from tests.e2e.airgap import Gap
from tests.support.charts import chart_index
from tests.support.helm_sdk import run_helm
from tests.support.registry import FakeRegistry

CHART = "airgap-demo"
METADATA = (
    "apiVersion: v2\nname: airgap-demo\nversion: 1.2.3+b1\nappVersion: '1.27'\ndescription: a <test> & more\n"
)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A repository of charts, and the registry of the isolated side."""
    with FakeRegistry() as server:
        yield server


@pytest.fixture
def archive(fake: FakeRegistry, tmp_path: Path) -> Path:
    """The chart, packed by Helm, in the repository."""
    source = tmp_path / CHART
    (source / "templates").mkdir(parents=True)
    (source / "Chart.yaml").write_text(METADATA)
    (source / "values.yaml").write_text("image: nginx:1.27\n")
    (source / "templates" / "pod.yaml").write_text("kind: Pod\napiVersion: v1\n")
    run_helm("package", source, tmp_path)
    [path] = tmp_path.glob("*.tgz")
    raw = path.read_bytes()
    fake.objects["/charts/index.yaml"] = chart_index(("1.2.3+b1", raw), name=CHART)
    fake.objects[f"/charts/{CHART}-1.2.3+b1.tgz"] = raw
    return path


def test_helm_pulls_what_was_loaded_and_pushes_the_same(
    gap: Gap, fake: FakeRegistry, archive: Path, tmp_path: Path
) -> None:
    item = {"repo": f"{fake.url}/charts", "chart": CHART, "version": "^1.2"}
    bundle = gap.pack(f"version: 1\nname: stack\ncharts: [{json.dumps(item)}]\n")
    gap.offline("load", bundle, "--to", f"registry:{fake.host}/mirror", "--plain-http", fake.host)
    (tmp_path / "pulled").mkdir()
    address = f"oci://{fake.host}/mirror/charts/{CHART}"
    assert run_helm("tags", address) == "1.2.3+b1"
    run_helm("pull", address, "1.2.3+b1", tmp_path / "pulled")
    [pulled] = (tmp_path / "pulled").iterdir()
    assert pulled.read_bytes() == archive.read_bytes()
    ours = _documents(fake, f"mirror/charts/{CHART}")
    run_helm("push", archive, f"oci://{fake.host}/pushed")
    theirs = _documents(fake, f"pushed/{CHART}")
    assert ours[1] == theirs[1]
    assert ours[0]["layers"] == theirs[0]["layers"]
    assert ours[0]["config"]["mediaType"] == theirs[0]["config"]["mediaType"]


def _documents(fake: FakeRegistry, repository: str) -> tuple[dict[str, Any], Any]:
    """The manifest and the config of the chart in a repository."""
    _, raw = fake.manifests[repository, "1.2.3_b1"]
    document = json.loads(raw)
    config = fake.blobs[repository, Digest.parse(document["config"]["digest"])]
    return document, json.loads(config)
