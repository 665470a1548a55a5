"""Helm charts, from repositories over HTTP and from registries to the offline side."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Gap
from tests.support.images import tar_of
from tests.support.registry import FakeRegistry

METADATA = b"apiVersion: v2\nname: demo\nversion: 1.2.3+b1\nappVersion: '1.27'\ndependencies:\n- name: x\n"
ARTIFACT = "airgap.internal/charts/demo:1.2.3_b1"


def chart(metadata: bytes = METADATA, folder: str = "demo") -> bytes:
    """The archive of a chart."""
    return gzip.compress(
        tar_of({f"{folder}/Chart.yaml": metadata, f"{folder}/values.yaml": b"a: 1\n"}), mtime=0
    )


def index(*lines: str, archive: bytes | None = None) -> bytes:
    """An index with the versions 1.0.0 and 1.2.3+b1 of the chart; `lines` replace those about the second."""
    own = lines or (f"digest: {hashlib.sha256(archive or chart()).hexdigest()}", "urls: [demo-1.2.3+b1.tgz]")
    about = "".join(f"    {line}\n" for line in own)
    return (
        "apiVersion: v1\nentries:\n  demo:\n  - version: 1.0.0\n    urls: [old.tgz]\n"
        f"  - version: 1.2.3+b1\n{about}generated: 2026-01-01T00:00:00Z\n"
    ).encode()


@pytest.fixture
def web() -> Iterator[FakeRegistry]:
    """A repository of charts."""
    with FakeRegistry() as server:
        server.objects["/charts/index.yaml"] = index()
        server.objects["/charts/demo-1.2.3+b1.tgz"] = chart()
        yield server


def manifest(gap: Gap, web: FakeRegistry, **keys: object) -> Path:
    """A manifest of the chart, with these keys of its item changed."""
    item = {"repo": f"{web.url}/charts", "chart": "demo", "version": "1.2.3+b1"} | keys
    path = gap.folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\ncharts: [{json.dumps(item)}]\n")
    return path


def test_a_chart_crosses_the_gap_in_the_form_of_helm(gap, web):
    path = manifest(gap, web)
    gap.online("lock", path)
    gap.online("pack", path, "--to", gap.stick)
    images = gap.folder / "images"
    loaded = gap.offline("load", gap.stick / "stack-0001", "--to", f"oci:{images}", "--json").json["images"]
    assert [(image["reference"], image["verdict"]) for image in loaded] == [(ARTIFACT, "loaded")]
    raw = json.loads((images / "blobs" / loaded[0]["digest"].replace(":", "/")).read_bytes())
    assert raw["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    config = json.loads((images / "blobs" / raw["config"]["digest"].replace(":", "/")).read_bytes())
    assert config == {"name": "demo", "version": "1.2.3+b1", "apiVersion": "v2", "appVersion": "1.27"}
    layer = raw["layers"][0]
    assert layer["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert (images / "blobs" / layer["digest"].replace(":", "/")).read_bytes() == chart()


def test_a_chart_is_written_as_an_archive(gap, web):
    gap.online("pack", manifest(gap, web), "--to", gap.stick)
    srv = gap.folder / "srv"
    words = (gap.stick / "stack-0001", "--to", f"k3s:{gap.folder / 'agent'}", "--files-to", srv, "--json")
    assert [image["verdict"] for image in gap.offline("load", *words).json["images"]] == ["placed"]
    assert (srv / "demo-1.2.3+b1.tgz").read_bytes() == chart()


def test_a_chart_of_a_registry_is_carried_as_an_image_is(gap, web):
    lines = "charts: [{chart: 'oci://registry.example/charts/demo', version: 1.2.3+b1}]"
    (gap.folder / "stack.yaml").write_text(f"version: 1\nname: stack\n{lines}\n")
    before = web.host
    done = gap.online("lock", gap.folder / "stack.yaml", code=18)
    assert "registry.example/charts/demo:1.2.3_b1" in done.err
    assert before == web.host


LIES = {
    "another digest": (index(f"digest: {'0' * 64}", "urls: [demo-1.2.3+b1.tgz]"), 12, "the chart is not the one in the repository's index"),
    "no digest text": (index("digest: x", "urls: [demo-1.2.3+b1.tgz]"), 10, "not a digest"),
    "no address": (index("urls: []"), 10, "the index does not say where the chart is"),
    "another scheme": (index("urls: ['file:///etc/passwd']"), 18, "the web server points to an unusable address"),
    "a login": (index("urls: ['http://a:b@127.0.0.1/x']"), 18, "points to an unusable address"),
    "inside": (index("urls: ['http://10.0.0.1/x']"), 2, "the address is plain HTTP"),
    "no such file": (index("urls: [../../../etc/passwd]"), 18, "404"),
    "not YAML": (b"{", 10, "not YAML"),
    "anchors": (b"entries: &a [*a]\n", 10, "YAML anchors and aliases are not allowed"),
    "no chart": (b"entries: {other: []}\n", 18, "the repository does not have this chart"),
    "a list": (b"[]", 10, "not a mapping"),
    "no versions": (b"entries: {demo: x}\n", 18, "the repository does not have this version"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_an_index_that_lies_is_refused(gap, web, case):
    raw, code, message = LIES[case]
    web.objects["/charts/index.yaml"] = raw
    assert message in gap.online("lock", manifest(gap, web), code=code).err
    assert not (gap.folder / "stack.lock.yaml").exists()


ARCHIVES = {
    "another version": (chart(METADATA.replace(b"1.2.3", b"1.2.4")), "the archive has another chart"),
    "another chart": (chart(METADATA.replace(b"demo", b"evil")), "the archive has another chart"),
    "another folder": (chart(folder="../demo"), "unsafe"),
    "no Chart.yaml": (
        gzip.compress(tar_of({"demo/values.yaml": b""}), mtime=0),
        "not the archive of the chart",
    ),
    "not gzip": (tar_of({"demo/Chart.yaml": METADATA}), "not a gzip"),
    "a bomb": (gzip.compress(tar_of({"demo/zero": bytes(101 << 20)}), mtime=0), "truncated"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_of_something_else_is_refused(gap, web, case):
    archive, message = ARCHIVES[case]
    web.objects["/charts/index.yaml"] = index(archive=archive)
    web.objects["/charts/demo-1.2.3+b1.tgz"] = archive
    assert message in gap.online("lock", manifest(gap, web), code=10).err


def test_a_chart_that_was_published_again_is_refused(gap, web):
    path = manifest(gap, web)
    gap.online("lock", path)
    web.objects["/charts/demo-1.2.3+b1.tgz"] = chart(METADATA + b"# again\n")
    done = gap.online("pack", path, "--to", gap.stick, code=12)
    assert "hint: run `airgap lock` again" in done.err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"version": "newest"}, "not a range of versions"),
        ({"version": "!=1.2"}, "not a range of versions"),
        ({"version": "1" * 201}, "the range of versions is too long"),
        ({"version": "^1.2", "as": "plant.example/demo:1"}, "must not have a tag"),
        ({"values": ["v.yaml"]}, "the values of a chart are only for its images"),
        ({"images": "yes"}, "not true or false"),
        ({"images": True, "set": ["--x"]}, "not a value"),
        ({"images": True, "values": ["none.yaml"]}, "no such file"),
        ({"keyring": "none.gpg"}, "the chart has no provenance file"),
        ({"chart": "../demo"}, "not the name of a chart"),
        ({"repo": "ftp://a/b"}, "not an address"),
        ({"chart": "oci://a/../b"}, "not the name of a chart"),
        ({"as": "x@y"}, "not a digest"),
        ({"ref": "x"}, "unknown key"),
    ],
    ids=[
        "version",
        "unequal",
        "long",
        "tag",
        "values",
        "flag",
        "set",
        "no-values",
        "no-provenance",
        "parent",
        "scheme",
        "both",
        "digest",
        "key",
    ],
)
def test_a_bad_item_is_refused(gap, web, keys, message):
    code = 13 if "keyring" in keys else 10
    assert message in gap.online("lock", manifest(gap, web, **keys), code=code).err
