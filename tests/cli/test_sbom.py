"""`inspect --sbom`: what a bundle contains as CycloneDX, with the SBOMs that images bring."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_MANIFEST, Descriptor
from airgap.oci.referrers import cosign_tags
from tests.cli.conftest import Gap, Side
from tests.support.attachments import EMPTY, index_with
from tests.support.images import Image, simple_image
from tests.support.registry import FakeRegistry

SPDX, CYCLONEDX = "application/spdx+json", "application/vnd.cyclonedx+json"
PREDICATE = "https://spdx.dev/Document"
API, WEB, APP = simple_image("api"), simple_image("web"), simple_image("app")


def artifact(text: str, media_type: str, subject: Image | None = None, **annotations: str) -> Image:
    """An artifact with one layer, as ORAS, cosign and BuildKit make them."""
    blob = text.encode()
    layer = Descriptor(media_type, Digest.of(blob), len(blob), annotations=annotations).to_json()
    config = {**EMPTY, "mediaType": OCI_CONFIG}
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [layer],
    }
    if subject is not None:
        value["subject"] = subject.descriptor.to_json()
    raw = json.dumps(value).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    contents = {root.digest: raw, Digest.of(blob): blob, Digest.of(b"{}"): b"{}"}
    return Image(root, raw, contents, None, (Digest.of(blob),))


REFERRER = artifact("of api", SPDX, API)
BY_TAG = artifact("of web", CYCLONEDX)
ATTESTATION = artifact("of app", "application/vnd.in-toto+json", **{"in-toto.io/predicate-type": PREDICATE})
SIGNATURE = artifact("a signature", "application/vnd.dev.cosign.simplesigning.v1+json", API)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.referrers_api = True
        registry.add("api", "1", API)
        registry.add("web", "1", WEB)
        registry.add("app", "1", index_with([(APP, ATTESTATION)]))
        registry.add("api", None, REFERRER)
        registry.add("api", None, SIGNATURE)
        registry.add("web", cosign_tags(WEB.descriptor.digest)[2], BY_TAG)
        yield registry


@pytest.fixture
def bundle(gap: Gap, fake: FakeRegistry) -> Path:
    gap.online(
        "pack", gap.manifest(*(f"{fake.host}/{name}:1" for name in ("api", "web", "app"))), "--to", gap.stick
    )
    return gap.stick / "stack-0001"


def test_an_sbom_has_everything_and_refers_to_the_images_own(
    gap: Gap, fake: FakeRegistry, bundle: Path
) -> None:
    file = gap.folder / "stack.cdx.json"
    shown = gap.offline("inspect", bundle, "--sbom", file, "--json").json
    assert shown["sbom"] == str(file)
    first = file.read_bytes()
    value = json.loads(first)
    assert (value["bomFormat"], value["specVersion"]) == ("CycloneDX", "1.6")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bom = Bom.from_json(value)
    by_ref = {str(component.bom_ref): component for component in bom.components}
    assert set(by_ref) == {image["as"] for image in shown["images"]}
    assert {ref.ref.value for ref in bom.dependencies} >= {"stack-0001"}
    for name, sbom, kind in (
        ("api", REFERRER, SPDX),
        ("web", BY_TAG, CYCLONEDX),
        ("app", ATTESTATION, PREDICATE),
    ):
        component = by_ref[f"{fake.host}/{name}:1"]
        (reference,) = component.external_references
        path = bundle / str(reference.url)
        assert (component.type, reference.type, reference.comment) == ("container", "bom", kind)
        assert path.read_bytes() == sbom.contents[sbom.layers[0]]
        assert {str(each.content) for each in reference.hashes} == {sbom.layers[0].hex}
        assert f"repository_url={fake.host}/{name}" in str(component.purl).replace("%2F", "/").replace(
            "%3A", ":"
        )
    assert gap.offline("inspect", bundle, "--sbom", file).out.endswith(f"written: {file}\n")
    assert file.read_bytes() == first


def test_nothing_is_written_if_nobody_vouches(fresh: Side, bundle: Path, tmp_path: Path) -> None:
    shown = fresh("inspect", bundle, "--sbom", tmp_path / "x.json", "--json", code=13).json
    assert shown["sbom"] is None
    assert not (tmp_path / "x.json").exists()


def test_a_damaged_manifest_is_refused(gap: Gap, bundle: Path, tmp_path: Path) -> None:
    path = bundle / REFERRER.descriptor.digest.path
    path.write_bytes(path.read_bytes().replace(b"spdx", b"SPDX"))
    assert "wrong digest" in gap.offline("inspect", bundle, "--sbom", tmp_path / "x.json", code=12).err
    assert not (tmp_path / "x.json").exists()


def test_without_the_library(gap: Gap, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airgap.carry.sbom", None)
    done = gap.offline("inspect", bundle, "--sbom", tmp_path / "x.json", code=2)
    assert "pip install 'airgap[sbom]'" in done.err
    gap.offline("inspect", bundle)
