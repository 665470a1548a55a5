"""Helm charts: what their values and templates name, what Helm renders, and archives that lie."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from airgap.discover.charts import read_chart, read_rendered
from airgap.discover.context import Choices, Context
from airgap.discover.findings import Discovery
from airgap.discover.helm_program import HelmProgram
from airgap.discover.sources import Sources
from tests.support.found import images, problems, write

CHART = {"Chart.yaml": "name: app\nversion: 1.0.0\nappVersion: 2.0.0\n"}
DEPENDENCY = "dependencies: [{name: sub, version: 1, condition: sub.enabled, alias: s}]\n"
SUBCHART = {
    "charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\nappVersion: v3\n",
    "charts/sub/values.yaml": "image: {repository: sub}\n",
}


@pytest.fixture(autouse=True)
def _without_helm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def read(path: Path, choices: Choices | None = None, helm: HelmProgram | None = None) -> Discovery:
    context = Context(sources=Sources([path.parent]), choices=choices or Choices())
    read_chart(path, context, helm)
    return context.findings.discovery()


def found_in_chart(folder: Path, files: Mapping[str, str], choices: Choices | None = None) -> Discovery:
    write(folder / "app", CHART | files)
    return read(folder / "app", choices)


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({"values.yaml": "image: {repository: app, tag: ''}"}, ["app:2.0.0 derived"]),
        (
            {"values.yaml": "image: {repository: app}", "templates/_helpers.tpl": '{{ printf "v%s" .Chart.AppVersion }} # the tag'},
            ["app:v2.0.0 derived"],
        ),
        (
            {"values.yaml": "image: {repository: app}", "templates/a.yaml": '  image: "app:v{{ .Chart.AppVersion }}"'},
            ["app:v2.0.0 derived"],
        ),
        ({"values.yaml": "global: {imageRegistry: r.io}\nimage: {repository: app, tag: '1'}"}, ["r.io/app:1 derived"]),
        ({"values.yaml": "imageRegistry: q.io\nimageNamespace: n\nimage: {name: app}"}, ["q.io/n/app:2.0.0 derived"]),
        (
            {"values.yaml": "defaultImageRegistry: q.io\ndefaultImageRepository: n\ndefaultImageTag: '5'\nimage: {name: a, tag: ''}"},
            ["q.io/n/a:5 derived"],
        ),
        (
            {"values.yaml": "_internal_defaults_do_not_set: {global: {hub: r.io/istio, tag: '1'}, image: pilot, tag: ''}"},
            ["r.io/istio/pilot:1 derived"],
        ),
        ({"values.yaml": "m: {enabled: false, image: {repository: m, tag: '1'}}"}, ["m:1 guess [m.enabled is false]"]),
        ({"values.yaml": "# image: quay.io/a/b:1\nimages: []"}, []),
        ({"templates/d.yaml": "spec:\n  image: quay.io/a/b:1 # literally\n  # image: quay.io/a/c:1\n"}, ["quay.io/a/b:1 derived"]),
        ({"templates/d.yaml": "args: [--x=quay.io/a/b:1]\n{{/* image: quay.io/a/c:1 */}}"}, ["quay.io/a/b:1 guess"]),
        ({"templates/tests/t.yaml": "image: busybox"}, ["busybox:latest guess [a test of the chart]"]),
        ({"templates/crd.yaml": "kind: CustomResourceDefinition\nx: {image: 'quay.io/a/b:1'}"}, []),
        ({"cloudbuild.yaml": "steps: [{image: 'quay.io/a/b:1'}]", "crds/c.yaml": "image: quay.io/a/c:1"}, []),
        ({"Chart.yaml": "name: app\nannotations:\n  images: |\n    - {name: x, image: 'x:1'}\n    - y:1\n"}, ["x:1 guess", "y:1 guess"]),
        (
            SUBCHART | {"Chart.yaml": CHART["Chart.yaml"] + DEPENDENCY, "values.yaml": "s: {image: {tag: '7'}}"},
            ["sub:7 derived"],
        ),
        (
            SUBCHART | {"Chart.yaml": CHART["Chart.yaml"] + DEPENDENCY, "values.yaml": "sub: {enabled: false}"},
            ["sub:v3 guess [sub.enabled is false]"],
        ),
        (SUBCHART, ["sub:v3 derived"]),
    ],
)  # fmt: skip
def test_without_helm_the_values_and_templates_are_read(
    tmp_path: Path, files: dict[str, str], want: list[str]
) -> None:
    found = found_in_chart(tmp_path, files)
    assert images(found) == want
    assert [problem.what for problem in found.problems] == [
        "chart app: read without Helm, which would show exactly what it runs"
    ]


def test_given_values_are_over_those_of_the_chart(tmp_path: Path) -> None:
    write(tmp_path, {"v.yaml": "image: {repository: mine}", "w.yaml": "m: {enabled: true}"})
    values = {
        "values.yaml": "image: {repository: app, tag: '1'}\nm: {enabled: false, image: {repository: m, tag: '1'}}"
    }
    choices = Choices(
        values_files=[tmp_path / "v.yaml", tmp_path / "w.yaml"],
        values=["image.tag=2,m.image.tag=3", "a[0]=1"],
    )
    found = found_in_chart(tmp_path, values, choices)
    assert images(found) == ["m:3 derived", "mine:2 derived"]
    assert "problem --set only Helm can read this value, got 'a[0]=1'" in problems(found, tmp_path)
    assert found.images[0].places[0].place.line == 1


def test_a_subchart_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    found = found_in_chart(tmp_path, {"Chart.yaml": CHART["Chart.yaml"] + DEPENDENCY})
    assert "problem app/Chart.yaml:4 chart app: the subchart sub is not in its folder charts/" in problems(
        found, tmp_path
    )


def test_a_link_out_of_the_given_folders_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "given/app", CHART | {"templates/a.yaml": "image: a:1"})
    write(tmp_path, {"secret.yaml": "image: secret:1"})
    (tmp_path / "given/app/templates/x.yaml").symlink_to(tmp_path / "secret.yaml")
    found = read(tmp_path / "given/app")
    assert images(found) == []
    assert [problem.what.partition(":")[0] for problem in found.problems] == [
        "a file outside of the deployment's folder"
    ]


# -- packed charts


def pack(path: Path, files: Mapping[str, str], *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        for member in members:
            archive.addfile(member)
    return path


def packed(files: Mapping[str, str]) -> dict[str, str]:
    return {f"app/{name}": text for name, text in (CHART | files).items()}


def member(name: str, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def test_a_packed_chart_is_read_without_unpacking_it(tmp_path: Path) -> None:
    inner = pack(
        tmp_path / "sub.tgz",
        {"sub/Chart.yaml": "name: sub", "sub/values.yaml": "image: {repository: sub, tag: '1'}"},
    )
    with tarfile.open(tmp_path / "app.tgz", "w:gz") as archive:
        for name, text in packed({"values.yaml": "image: {repository: app, tag: '1'}"}).items():
            entry = member(name, size=len(text))
            archive.addfile(entry, io.BytesIO(text.encode()))
        archive.add(inner, "app/charts/sub-1.0.0.tgz")
    found = read(tmp_path / "app.tgz")
    assert images(found) == ["app:1 derived", "sub:1 derived"]
    assert found.images[0].places[0].place.file == f"{tmp_path}/app.tgz/app/values.yaml"


@pytest.mark.parametrize(
    ("hostile", "want"),
    [
        (member("app/templates/x.yaml", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link in a chart's archive"),
        (member("app/templates/x.yaml", type=tarfile.LNKTYPE, linkname="app/Chart.yaml"), "a link in a chart's archive"),
        (member("app/../../x.yaml"), "unsafe name in the archive"),
        (member("/etc/x.yaml"), "unsafe name in the archive"),
        (member("app/Chart.yaml"), "an entry is in the archive twice"),
        (member("app/fifo", type=tarfile.FIFOTYPE), "unsupported kind of archive entry"),
    ],
)  # fmt: skip
def test_an_archive_that_lies_is_refused(tmp_path: Path, hostile: tarfile.TarInfo, want: str) -> None:
    path = pack(tmp_path / "app.tgz", packed({"values.yaml": "image: {repository: app, tag: '1'}"}), hostile)
    found = read(path)
    assert images(found) == []
    assert [text[: len(want) + 16] for text in problems(found, tmp_path)] == [f"problem app.tgz {want}"]


def test_a_member_of_ten_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "app.tgz"

    entry = member("app/values.yaml", size=10 << 30)
    path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT)[:512]))
    assert [problem.what[:9] for problem in read(path).problems] == ["too large"]


@pytest.mark.parametrize("raw", [b"", b"text", b"\x1f\x8b\x08\x00"])
def test_what_is_not_an_archive_is_a_problem(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "app.tgz").write_bytes(raw)
    assert len(read(tmp_path / "app.tgz").problems) == 1


# -- Helm


RENDERED = (
    "---\n# Source: app/templates/a.yaml\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: 'a:1'}]}\n"
    "---# Source: app/templates/b.yaml\n# Source: app/templates/b.yaml\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'b:1'}]}\n"
)


def test_rendered_images_are_derived_and_have_their_template(tmp_path: Path) -> None:
    context = Context(sources=Sources([tmp_path]))
    read_rendered(RENDERED, "app: ", "app", context)
    found = context.findings.discovery()
    assert images(found) == ["a:1 derived", "b:1 derived"]
    assert [str(image.places[0].place) for image in found.images] == [
        "app: app/templates/a.yaml", "app: app/templates/b.yaml",
    ]  # fmt: skip


def program(folder: Path, script: str, **limits: float) -> HelmProgram:
    path = folder / "helm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return HelmProgram(path=path, **limits)  # type: ignore[arg-type]


def test_helm_renders_the_chart_with_the_given_values(tmp_path: Path) -> None:
    write(tmp_path / "app", CHART | {"values.yaml": "image: {repository: app, tag: '1'}\nx: {image: 'x:1'}"})
    write(tmp_path, {"v.yaml": "a: b", "out.yaml": RENDERED.replace("b:1", "app:1")})
    helm = program(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/argv\n/bin/cat {tmp_path}/out.yaml")
    choices = Choices(values_files=[tmp_path / "v.yaml"], values=["--x=;y"])
    found = read(tmp_path / "app", choices, helm)
    assert images(found) == [
        "a:1 derived",
        "app:1 derived",
        "x:1 guess [Helm does not render it with these values]",
    ]
    assert (tmp_path / "argv").read_text().splitlines() == [
        "template", "release-name", str(tmp_path / "app"), "--skip-tests", f"--values={tmp_path}/v.yaml", "--set=--x=;y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "limits", "want"),
    [
        ("echo 'Error: bad template' >&2; exit 1", {}, "helm cannot render the chart: app, got bad template"),
        ("exec /bin/sleep 60", {"seconds": 0.2}, "helm does not end: helm, want within 0.2 seconds"),
        ("while :; do echo xxxxxxxxxxxxxxxx; done", {"max_bytes": 1000}, "the output of helm is too large: helm, want at most 1,000 bytes"),
        ("exit 3", {}, "helm cannot render the chart: app, got exit status 3"),
    ],
)  # fmt: skip
def test_if_helm_fails_the_values_are_read(
    tmp_path: Path, script: str, limits: dict[str, float], want: str
) -> None:
    write(tmp_path / "app", CHART | {"values.yaml": "image: {repository: app, tag: '1'}"})
    found = read(tmp_path / "app", helm=program(tmp_path, script, **limits))
    assert images(found) == ["app:1 derived"]
    assert problems(found, tmp_path) == [f"problem app {want}"]


def test_charts_that_use_each_other_many_times_end(tmp_path: Path) -> None:
    aliases = ", ".join(f"{{name: sub, alias: s{number}}}" for number in range(40))
    chart = f"name: %s\ndependencies: [{aliases}]\n"
    files = {f"{'charts/sub/' * depth}Chart.yaml": chart % ("sub" if depth else "app") for depth in range(5)}
    found = found_in_chart(tmp_path, files | {"charts/sub/values.yaml": "image: {repository: a, tag: '1'}"})
    assert images(found) == ["a:1 derived"]
    assert "too many subcharts, want at most 200" in [problem.what for problem in found.problems]


def test_templates_without_an_end_are_read_in_one_pass(tmp_path: Path) -> None:
    found = found_in_chart(tmp_path, {"templates/a.yaml": "image: a:1\n" + "{{ " * 200_000})
    assert images(found) == ["a:1 derived"]


def test_packed_subcharts_share_one_limit(tmp_path: Path) -> None:
    inner = pack(tmp_path / "sub.tgz", {"sub/big": "0" * (30 << 20)})
    with tarfile.open(tmp_path / "app.tgz", "w:gz") as archive:
        for number in range(4):
            archive.add(inner, f"app/charts/sub-{number}.tgz")
    assert [problem.what[:9] for problem in read(tmp_path / "app.tgz").problems] == ["too large"]
