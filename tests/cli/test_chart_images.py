"""Charts with `images: true` and with ranges of versions: what is locked, what stays, and what is only listed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Gap
from tests.support.charts import chart_archive, chart_image, chart_index
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

CHART = "airgap.internal/charts/demo"
MAYBE = "quay.io/acme/maybe:1"


def demo(web: FakeRegistry, version: str = "1.0.0", image: str = "app", tag: str = "1") -> bytes:
    """A chart that runs one image; another one stands in an argument."""
    values = f"image: {{repository: {web.host}/{image}, tag: '{tag}'}}\n"
    files = {"values": values, "templates/d": f"args: [--x={MAYBE}]\n"}
    return chart_archive(version=version, **files)


def publish(web: FakeRegistry, *versions: str, image: str = "app") -> None:
    """Publish versions of the chart in a repository over HTTP."""
    archives = [(version, demo(web, version, image)) for version in versions]
    web.objects["/charts/index.yaml"] = chart_index(*archives)
    web.objects |= {f"/charts/demo-{version}.tgz": archive for version, archive in archives}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeRegistry]:
    """A repository of charts and a registry, without Helm on this machine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with FakeRegistry() as server:
        publish(server, "1.0.0", "1.1.0", "2.0.0-rc.1")
        for name in ("app", "other", "mine"):
            server.add(name, "1", simple_image(name))
        yield server


def manifest(gap: Gap, *charts: dict[str, object], images: str = "[]") -> Path:
    """A manifest of charts, with `images: true`."""
    path = gap.folder / "stack.yaml"
    items = json.dumps([{"images": True, **chart} for chart in charts])
    path.write_text(f"version: 1\nname: stack\nimages: {images}\ncharts: {items}\n")
    return path


def over_http(web: FakeRegistry, **keys: object) -> dict[str, object]:
    """The item of the chart in the repository."""
    return {"repo": f"{web.url}/charts", "chart": "demo", "version": "1.0.0"} | keys


def locked(gap: Gap) -> dict[str, dict[str, object]]:
    """The images and charts in the lock, by their names."""
    lock = yaml.safe_load((gap.folder / "stack.lock.yaml").read_text())
    return {item["as"]: item for item in (*lock["images"], *lock.get("charts", ()))}


def test_the_images_of_a_chart_are_carried(gap: Gap, web: FakeRegistry) -> None:
    path = manifest(gap, over_http(web))
    done = gap.online("lock", path, "--json").json
    [image, chart] = done["images"]
    assert (image["reference"], image["chart"], image["certainty"]) == (
        f"{web.host}/app:1", f"{CHART}:1.0.0", "derived",
    )  # fmt: skip
    assert (chart["chart"], chart["certainty"]) == (None, None)
    assert [guess["reference"] for guess in done["guesses"]] == [MAYBE]
    assert "read without Helm" in done["chart_problems"][0]
    before = (gap.folder / "stack.lock.yaml").read_bytes()
    web.add("app", "1", simple_image("a new one"))
    gap.online("lock", path)
    assert (gap.folder / "stack.lock.yaml").read_bytes() == before
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("verify", gap.stick / "stack-0001")


def test_without_a_lock_the_images_are_carried_too(gap: Gap, web: FakeRegistry) -> None:
    done = gap.online("plan", manifest(gap, over_http(web)), "--json")
    assert [image["as"] for image in done.json["images"]] == [f"{web.host}/app:1", f"{CHART}:1.0.0"]
    assert f"not carried: {MAYBE}" in done.err


def test_what_the_manifest_lists_itself_stays_as_it_is_listed(gap: Gap, web: FakeRegistry) -> None:
    images = f"[{{ref: '{web.host}/app:1', as: 'plant.example/app:1'}}]"
    gap.online("lock", manifest(gap, over_http(web), images=images))
    assert set(locked(gap)) == {"plant.example/app:1", f"{CHART}:1.0.0"}
    assert "chart" not in locked(gap)["plant.example/app:1"]


@pytest.mark.parametrize(
    "keys", [{"set": ["image.tag=2"]}, {"values": ["plant.yaml"]}], ids=["set", "values"]
)
def test_values_decide_the_image(gap: Gap, web: FakeRegistry, keys: dict[str, object]) -> None:
    (gap.folder / "plant.yaml").write_text("image: {tag: '2'}\n")
    web.add("app", "2", simple_image("two"))
    gap.online("lock", manifest(gap, over_http(web)))
    path = manifest(gap, over_http(web, **keys))
    assert "the lock belongs to another manifest" in gap.online("pack", path, "--to", gap.stick, code=10).err
    gap.online("lock", path)
    assert f"{web.host}/app:2" in locked(gap)


def test_a_chart_of_a_registry_brings_its_images(gap: Gap, web: FakeRegistry) -> None:
    web.add("charts/demo", "1.0.0", chart_image(demo(web)))
    chart = f"{web.host}/charts/demo"
    path = manifest(gap, {"chart": f"oci://{chart}", "version": "^1"})
    gap.online("lock", path)
    assert set(locked(gap)) == {f"{chart}:1.0.0", f"{web.host}/app:1"}
    assert locked(gap)[f"{web.host}/app:1"]["chart"] == f"{chart}:1.0.0"
    web.add("charts/demo", "1.0.0", chart_image(demo(web, image="other")))
    gap.online("lock", path)
    assert f"{web.host}/app:1" in locked(gap), "the images are those of the chart that stays locked"
    gap.online("lock", path, "--only", "demo")
    assert f"{web.host}/other:1" in locked(gap)


def test_the_newest_version_in_a_range_is_locked(gap: Gap, web: FakeRegistry) -> None:
    path = manifest(gap, over_http(web, version=">= 1.0, <3"))
    gap.online("lock", path)
    assert f"{CHART}:1.1.0" in locked(gap)
    publish(web, "1.0.0", "1.1.0", "1.2.0", image="other")
    done = gap.online("lock", path)
    assert f"tags of {CHART}: +1.2.0 -1.1.0" in done.out
    assert set(locked(gap)) == {f"{CHART}:1.2.0", f"{web.host}/other:1"}


def test_only_one_image_is_locked_again(gap: Gap, web: FakeRegistry) -> None:
    path = manifest(gap, over_http(web, version="^1"), images=f"['{web.host}/mine:1']")
    gap.online("lock", path)
    before = locked(gap)
    publish(web, "1.2.0", image="other")
    web.add("mine", "1", simple_image("mine again"))
    gap.online("lock", path, "--only", "mine", code=2)
    gap.online("lock", path, "--only", f"{web.host}/mine:1")
    after = locked(gap)
    assert [name for name in after if after[name] != before[name]] == [f"{web.host}/mine:1"]
    gap.online("lock", path, "--only", "demo")
    assert set(locked(gap)) == {f"{web.host}/mine:1", f"{web.host}/other:1", f"{CHART}:1.2.0"}


BAD_CHARTS = {
    "another version": (chart_image(chart_archive(version="9.9.9"), version="9.9.9"), "another version"),
    "another archive": (chart_image(chart_archive("evil")), "not the archive of the chart"),
    "an image": (simple_image("x"), "not a chart"),
    "a bad name": (chart_image(chart_archive(), name="../demo"), "not the archive of the chart"),
}


@pytest.mark.parametrize("case", BAD_CHARTS)
def test_what_is_not_the_chart_is_refused(gap: Gap, web: FakeRegistry, case: str) -> None:
    image, message = BAD_CHARTS[case]
    web.add("charts/demo", "1.0.0", image)
    path = manifest(gap, {"chart": f"oci://{web.host}/charts/demo", "version": "1.0.0"})
    assert message in gap.online("lock", path, code=10).err
    assert not (gap.folder / "stack.lock.yaml").exists()


def test_a_range_without_a_version_is_refused(gap: Gap, web: FakeRegistry) -> None:
    done = gap.online("lock", manifest(gap, over_http(web, version="^2")), code=18)
    assert "the repository does not have this version" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [("certainty: derived", "incomplete origin"), ("certainty: likely", "not a certainty")],
    ids=["half", "unknown"],
)
def test_a_lock_with_another_origin_is_refused(gap: Gap, web: FakeRegistry, text: str, message: str) -> None:
    path = manifest(gap, over_http(web))
    gap.online("lock", path)
    lock = gap.folder / "stack.lock.yaml"
    raw = lock.read_text().replace(f"  chart: {CHART}:1.0.0\n", "").replace("certainty: derived", text)
    lock.write_text(raw)
    assert message in gap.online("pack", path, "--to", gap.stick, code=10).err
