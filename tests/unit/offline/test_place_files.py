"""Charts that are written as archives: their names come from whoever made the chart."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.endpoints.files_folder import FilesFolder
from airgap.errors import AmbiguousError, FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.helm_chart import chart_config, chart_manifest
from airgap.offline.loader import LoadedImage
from tests.support.bundles import ONE, TWO, make_gap
from tests.support.images import Image
from tests.unit.offline.load_support import go, verdicts


def chart(content: bytes, config: bytes | None = None, **metadata: str) -> Image:
    """A chart with this archive, whose config says what is in `metadata`."""
    config = chart_config({"name": "demo", "version": "1.0.0"} | metadata) if config is None else config
    raw = chart_manifest(config, Digest.of(content), len(content))
    contents = {Digest.of(each): each for each in (raw, config, content)}
    return Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw, contents)


def placed(folder: Path, images: Mapping[str, Image]) -> list[LoadedImage]:
    """The results of writing the charts of a bundle into `srv`."""
    gap = make_gap(folder / "gap", images=dict(images))
    with Folder(gap.bundle) as found:
        return go(verify(found, gap.receiver()), FilesFolder(folder / "srv"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_chart_is_written_under_its_name_and_version(tmp_path):
    assert (
        verdicts(placed(tmp_path, {ONE: chart(b"a"), TWO: chart(b"b", version="2.0.0+x")})) == ["placed"] * 2
    )
    assert names(tmp_path / "srv") == ["demo-1.0.0.tgz", "demo-2.0.0+x.tgz"]


@pytest.mark.parametrize(
    "bad",
    [
        chart(b"b", name="../evil"),
        chart(b"b", name="/etc/cron.d/x"),
        chart(b"b", name="a\nb"),
        chart(b"b", version="1/../../../x"),
        chart(b"b", b"[]"),
        chart(b"b", b"{}"),
        chart(b"b", json.dumps({"name": 1, "version": []}).encode()),
    ],
    ids=["upwards", "absolute", "line feed", "version", "list", "empty", "types"],
)
def test_a_chart_with_another_name_fails_alone(tmp_path, bad):
    good, failed = placed(tmp_path, {ONE: chart(b"a"), TWO: bad})
    assert (good.verdict, failed.verdict) == ("placed", "failed")
    assert isinstance(failed.error, FormatError)
    assert names(tmp_path / "srv") == ["demo-1.0.0.tgz"]


def test_two_charts_with_one_name_are_refused_and_one_chart_with_two_names_is_not(tmp_path):
    with pytest.raises(AmbiguousError):
        placed(tmp_path / "two", {ONE: chart(b"a"), TWO: chart(b"b")})
    assert not (tmp_path / "two" / "srv").exists()
    placed(tmp_path / "one", {ONE: chart(b"a"), TWO: chart(b"a")})
    assert names(tmp_path / "one" / "srv") == ["demo-1.0.0.tgz"]
