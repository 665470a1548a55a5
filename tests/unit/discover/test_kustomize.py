"""Kustomizations: what they change, what they use, and where they must not lead."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.context import Context
from airgap.discover.kustomize import read_kustomizations
from airgap.discover.kustomize_patches import apply_operations, merge
from airgap.discover.sources import Sources
from airgap.errors import FormatError
from airgap.manifest.yaml_nodes import Sequence, parse_nodes
from tests.support.found import found_in, images, problems, write

BASE = {
    "base/kustomization.yaml": "resources: [app.yaml]\n",
    "base/app.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, labels: {a: b}}\nspec:\n  template:\n    spec:\n"
        "      containers:\n      - {name: web, image: 'web:1'}\n      - {name: side, image: 'side:1'}\n"
    ),
}
NAMED = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n"
MERGE = NAMED + "spec: {template: {spec: {containers: [%s]}}}\n"
USES_BASE = "resources: [../base]\n"
FIRST = "/spec/template/spec/containers/0"
REMOTE = "problem top/kustomization.yaml:1 a remote"


def overlay(text: str, **files: str) -> dict[str, str]:
    named = {f"top/{name}.yaml": content for name, content in files.items()}
    return {**BASE, "top/kustomization.yaml": USES_BASE + text, **named}


@pytest.mark.parametrize(
    ("files", "want"),
    [
        (overlay(""), ["side:1 sure", "web:1 sure"]),
        (overlay("images: [{name: web, newTag: '2'}]"), ["side:1 sure", "web:2 derived"]),
        (overlay("images: [{name: web, newName: r.io/web}]"), ["r.io/web:1 derived", "side:1 sure"]),
        (overlay(f"images: [{{name: web, digest: 'sha256:{'1' * 64}'}}]"), ["side:1 sure", f"web@sha256:{'1' * 64} derived"]),
        (overlay("images: [{name: web, tagSuffix: -slim}]"), ["side:1 sure", "web:1-slim derived"]),
        (overlay("images: [{name: web, newName: new}, {name: new, newTag: '3'}]"), ["new:3 derived", "side:1 sure"]),
        (overlay("patches: [{path: p.yaml}]", p=MERGE % "{name: web, image: 'web:2'}"), ["side:1 sure", "web:2 sure"]),
        (overlay("patches: [{path: p.yaml}]", p=MERGE % "{name: new, image: 'new:1'}"), ["new:1 sure", "side:1 sure", "web:1 sure"]),
        (overlay("patchesStrategicMerge: [p.yaml]", p=MERGE % "{name: side, $patch: delete}"), ["web:1 sure"]),
        (overlay("patchesStrategicMerge:\n- |\n  " + (MERGE % "{name: side, $patch: delete}").replace("\n", "\n  ")), ["web:1 sure"]),
        (overlay("patches: [{path: p.yaml}]", p=NAMED + "$patch: delete\n"), []),
        (
            overlay("patches: [{path: p.yaml, target: {kind: Deploy.*, name: app|x, labelSelector: a=b}}]",
                    p=f"[{{op: replace, path: {FIRST}/image, value: 'web:3'}}]"),
            ["side:1 sure", "web:3 sure"],
        ),
        (
            overlay("namePrefix: x-\npatchesJson6902: [{path: p.yaml, target: {kind: Deployment, name: app}}]",
                    p="[{op: remove, path: /spec/template/spec/containers/1}]"),
            ["web:1 sure"],
        ),
        (
            overlay("components: [../one]\nimages: [{name: web, newTag: '3'}]")
            | {"one/kustomization.yaml": "kind: Component\nimages: [{name: web, newTag: '2'}]"},
            ["side:1 sure", "web:3 derived"],
        ),
        (
            overlay("configMapGenerator: [{name: m, literals: ['image=r.io/m:1'], files: [f.yaml]}]", f="x: r.io/f:1"),
            ["r.io/f:1 guess", "r.io/m:1 guess", "side:1 sure", "web:1 sure"],
        ),
    ],
)  # fmt: skip
def test_a_kustomization_is_built(tmp_path: Path, files: dict[str, str], want: list[str]) -> None:
    found = found_in(tmp_path, files, "top")
    assert images(found) == want
    assert found.problems == ()


@pytest.mark.parametrize(
    ("files", "want"),
    [
        (overlay("images: [{name: other, newTag: '2'}]"), "warning top/kustomization.yaml:2 an image rule that changes nothing"),
        (overlay("patches: [{path: p.yaml}]", p=(MERGE % "{name: web, image: a}").replace("app}", "b}")), "warning top/kustomization.yaml:2 a patch that changes nothing"),
        ({"top/kustomization.yaml": "resources: [https://example.com/x.yaml]"}, REMOTE),
        ({"top/kustomization.yaml": "resources: [github.com/a/b?ref=v1]"}, REMOTE),
        ({"top/kustomization.yaml": "components: ['git@example.com:a/b']"}, REMOTE),
        (overlay("helmCharts: [{name: x}]"), "problem top/kustomization.yaml:2 `helmCharts` of a kustomization is not read"),
        (overlay("replacements: [{targets: [{fieldPaths: [spec.image]}]}]"), "problem top/kustomization.yaml:2 a replacement that changes images"),
        ({"top/kustomization.yaml": "resources: [missing.yaml]"}, "problem top/kustomization.yaml:1 cannot be read"),
        ({"top/kustomization.yaml": "resources: [../../../etc/passwd]"}, "problem top/kustomization.yaml:1 a file outside"),
        ({"top/kustomization.yaml": "components: [/etc]"}, "problem top/kustomization.yaml:1 an absolute path"),
        ({"top/kustomization.yaml": "resources: [../a]", "a/kustomization.yaml": "resources: [../top]"}, "problem a/kustomization.yaml:1 kustomizations that use each other"),
        (overlay("patches: [{path: p.yaml, target: {kind: Deployment}}]", p="[{op: remove, path: /spec/image/9/x}]"), "problem top/kustomization.yaml:2 a patch whose path"),
        ({"top/kustomization.yaml": "resources: ["}, "problem top/kustomization.yaml:"),
    ],
)  # fmt: skip
def test_what_a_kustomization_cannot_do_is_reported(tmp_path: Path, files: dict[str, str], want: str) -> None:
    found = problems(found_in(tmp_path, files, "top"), tmp_path)
    assert [text[: len(want)] for text in found] == [want]


def test_places_are_those_of_the_text_that_names_the_image(tmp_path: Path) -> None:
    patch = "patches:\n- patch: |-\n    - {op: replace, path: %s/image, value: 'web:2'}\n  target: {kind: Deployment}\n"
    found = found_in(tmp_path, overlay(patch % FIRST), "top")
    places = {image.reference.familiar: image.places[0].place for image in found.images}
    assert (Path(places["web:2"].file).parent.name, places["web:2"].line) == ("top", 4)
    assert (Path(places["side:1"].file).name, places["side:1"].line) == ("app.yaml", 9)


def test_a_folder_is_read_through_its_kustomizations(tmp_path: Path) -> None:
    files = overlay("images: [{name: web, newTag: '2'}]") | {
        "unused/kustomization.yaml": "kind: Component\npatches: [{path: p.yaml}]",
        "unused/p.yaml": MERGE % "{name: web, image: 'never:1'}",
        "other/pod.yaml": "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'pod:1'}]}",
    }
    assert images(found_in(tmp_path, files)) == ["pod:1 sure", "side:1 sure", "web:2 derived"]


def test_a_base_beside_the_folder_that_was_given_may_be_used(tmp_path: Path) -> None:
    write(tmp_path, overlay(""))
    context = Context(sources=Sources([tmp_path / "top"]))
    read_kustomizations([tmp_path / "top"], context)
    assert images(context.findings.discovery()) == ["side:1 sure", "web:1 sure"]


def test_a_base_behind_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    write(tmp_path, BASE | {"in/top/kustomization.yaml": "resources: [../link]"})
    (tmp_path / "in/link").symlink_to(tmp_path / "base")
    context = Context(sources=Sources([tmp_path / "in/top"]))
    read_kustomizations([tmp_path / "in/top"], context)
    assert [problem.what[:16] for problem in context.findings.problems] == ["a folder outside"]
    shutil.rmtree(tmp_path / "in")


def test_kustomizations_that_double_their_objects_end(tmp_path: Path) -> None:
    files = {
        f"k{number}/kustomization.yaml": f"resources: [../k{number + 1}, ../k{number + 1}]"
        for number in range(25)
    }
    last = {"k25/kustomization.yaml": "resources: [../base]"} | BASE
    found = found_in(tmp_path, files | last, "k0")
    assert [problem.what[:38] for problem in found.problems] == ["kustomizations that repeat their objec"]


NODES = st.recursive(
    st.sampled_from(["a", "", "delete", "replace", "/0/image", "/-", "/containers/0", "add", "remove"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["containers", "name", "image", "$patch", "op", "path", "value"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=80, deadline=None)
@given(target=NODES, patch=NODES)
def test_any_patch_is_applied_or_refused(target: object, patch: object) -> None:
    one, other = (parse_nodes(json.dumps(value)).documents[0] for value in (target, patch))
    merge(one, other)
    operations = [other, *(other.items if isinstance(other, Sequence) else ())]
    with contextlib.suppress(FormatError):
        apply_operations(one, operations)
