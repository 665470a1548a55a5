"""Real `kustomize build` and Helm's own engine judge what discover finds in kustomizations and charts."""

import shutil
from pathlib import Path

import pytest

from airgap.discover.charts import read_chart
from airgap.discover.context import Choices, Context
from airgap.discover.discover import discover
from airgap.discover.findings import Certainty, Discovery
from airgap.discover.helm_program import HelmProgram
from airgap.discover.kustomize import read_kustomizations
from airgap.discover.sources import Sources
from tests.samples import FILES, cases
from tests.support.found import write
from tests.support.helm_sdk import write_helm
from tests.support.sid import Sid

APP = (
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, labels: {a: b}}\nspec:\n  selector: {}\n  template:\n"
    "    spec:\n      containers:\n      - {name: web, image: 'web:1'}\n      - {name: side, image: 'r.io/side:1'}\n"
    "      volumes: [{name: v, image: {reference: 'web:1'}}]\n"
)
NAMED = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n"
PATCH = NAMED + "spec: {template: {spec: {containers: [%s]}}}\n"
CONTAINER = "/spec/template/spec/containers/0"
TOPS: dict[str, dict[str, str]] = {
    "tag over digest": {"kustomization.yaml": f"images: [{{name: web, digest: 'sha256:{'1' * 64}'}}, {{name: web, newTag: '2'}}]"},
    "tag and digest": {"kustomization.yaml": f"images: [{{name: web, newTag: '2', digest: 'sha256:{'1' * 64}'}}]"},
    "one name for two": {"kustomization.yaml": "images: [{name: web, newTag: '2'}, {name: r.io/side, newName: web}]"},
    "rules in a row": {"kustomization.yaml": "images: [{name: web, newName: new}, {name: new, newTag: '3'}]"},
    "patch before rule": {
        "kustomization.yaml": "patches: [{path: p.yaml}]\nimages: [{name: new, newTag: '3'}]",
        "p.yaml": PATCH % "{name: web, image: 'new:1'}, {name: third, image: 'third:1'}",
    },
    "deleted container": {"kustomization.yaml": "patches: [{path: p.yaml}]", "p.yaml": PATCH % "{name: side, $patch: delete}"},
    "replaced containers": {
        "kustomization.yaml": "patches: [{path: p.yaml}]", "p.yaml": PATCH % "{$patch: replace}, {name: x, image: 'x:1'}",
    },
    "operations": {
        "kustomization.yaml": (
            "patches:\n- target: {kind: Deploy.*, labelSelector: a=b}\n  patch: |-\n"
            f"    - {{op: replace, path: {CONTAINER}/image, value: 'web:3'}}\n"
            "    - {op: add, path: /spec/template/spec/containers/-, value: {name: y, image: 'y:1'}}\n"
            "    - {op: remove, path: /spec/template/spec/containers/1}\n"
        ),
    },
    "components in a row": {
        "kustomization.yaml": "components: [one, two]\nnamePrefix: x-",
        "one/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: [{name: web, newName: one}]",
        "two/kustomization.yaml": (
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: [{name: one, newTag: '5'}]\n"
            "patches:\n- target: {name: app}\n  patch: |-\n    - {op: add, path: /metadata/labels/c, value: d}\n"
        ),
    },
    "configuration": {
        "kustomization.yaml": "configMapGenerator: [{name: m, files: [f.txt], literals: ['docker_image=a/b:1']}]",
        "f.txt": "x=quay.io/a/b:1\n",
    },
}  # fmt: skip
OVERLAYS = [case.words[0] for case in cases() if case.kind == "kustomize"]
CHARTS = [case for case in cases() if case.kind == "helm"]


def names(found: Discovery) -> set[tuple[str, bool]]:
    """The images, each with whether it is a guess."""
    return {(str(image.reference), image.certainty is Certainty.GUESS) for image in found.images}


def assert_same(sid: Sid, folder: Path) -> None:
    """The images in the folder are those in what kustomize writes."""
    context = Context(sources=Sources([folder]))
    read_kustomizations([folder], context)
    built = sid("kustomize", "build", folder).stdout.decode()
    assert names(context.findings.discovery()) == names(discover([Path("-")], standard_input=built)) != set()


@pytest.mark.parametrize("name", TOPS)
def test_kustomize_and_discover_read_the_same_images(sid: Sid, tmp_path: Path, name: str) -> None:
    top = {f"top/{path}": text for path, text in TOPS[name].items()}
    top["top/kustomization.yaml"] = f"resources: [../base]\n{top['top/kustomization.yaml']}"
    write(tmp_path, {"base/kustomization.yaml": "resources: [app.yaml]", "base/app.yaml": APP} | top)
    assert_same(sid, tmp_path / "top")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_and_discover_read_the_same_images_of_samples(
    sid: Sid, tmp_path: Path, overlay: str
) -> None:
    top = overlay.partition("/")[0]
    shutil.copytree(FILES / top, tmp_path / top)
    assert_same(sid, tmp_path / overlay)


@pytest.mark.parametrize("case", CHARTS, ids=lambda case: case.name)
def test_what_helm_renders_is_what_the_chart_runs(tmp_path: Path, case) -> None:
    helm = HelmProgram(path=write_helm(tmp_path))
    context = Context(sources=Sources([FILES]))
    read_chart(FILES / case.words[0], context, helm)
    found = context.findings.discovery()
    assert found.problems == ()
    default = {str(image.reference) for image in found.images if not image.optional}
    assert default == case.expected("run", "operand")
    assert {str(image.reference) for image in found.images} >= case.expected("opt")


def test_helm_gets_the_values(tmp_path: Path) -> None:
    context = Context(sources=Sources([FILES]), choices=Choices(values=["addonResizer.enabled=true"]))
    read_chart(FILES / "helm-metrics-server", context, HelmProgram(path=write_helm(tmp_path)))
    found = {image.reference.repository: image.optional for image in context.findings.discovery().images}
    assert found == {"autoscaling/addon-resizer": None, "metrics-server/metrics-server": None}
