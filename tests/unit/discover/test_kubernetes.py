"""The images of Kubernetes objects: where pod templates stand, and what is not an image."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.findings import Findings
from airgap.discover.kubernetes import read_kubernetes
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import parse_nodes
from tests.support.found import found_in, images, problems

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: "
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: %s}}\n"
CUSTOM = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: "


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (f"{POD}{{containers: [{{image: nginx}}]}}", ["nginx:latest sure"]),
        (
            f"{POD}{{initContainers: [{{image: 'a:1'}}], containers: [{{image: 'b:1'}}], ephemeralContainers: [{{image: 'c:1'}}]}}",
            ["a:1 sure", "b:1 sure", "c:1 sure"],
        ),
        (f"{POD}{{volumes: [{{name: v, image: {{reference: 'v:1'}}}}], containers: []}}", ["v:1 sure"]),
        (DEPLOYMENT % "{containers: [{image: 'registry.dev:5000/a:1.10'}]}", ["registry.dev:5000/a:1.10 sure"]),
        (f"{CUSTOM}{{deep: [{{containers: [{{name: c, image: 'c:1'}}]}}]}}", ["c:1 sure"]),
        ("apiVersion: v1\nkind: List\nitems:\n- {kind: Pod, apiVersion: v1, spec: {containers: [{image: 'l:1'}]}}", ["l:1 sure"]),
        (
            "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{container: {image: 'g:1'}}, {script: {image: 's:1', source: x}}]}",
            ["g:1 sure", "s:1 sure"],
        ),
        ("apiVersion: tekton.dev/v1\nkind: Task\nspec: {steps: [{image: 's:1'}], sidecars: [{image: 'c:1'}]}", ["c:1 sure", "s:1 sure"]),
        ('{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "j:1"}]}}', ["j:1 sure"]),
        (f"{POD}{{containers: [{{image: &i 'a:1'}}, {{image: *i}}]}}", ["a:1 sure"]),
    ],
)  # fmt: skip
def test_pod_templates_are_found_by_their_shape(tmp_path: Path, text: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, {"k.yaml": text})) == want


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {containers: [{image: 'quay.io/a/b:1'}]}",
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: {rules: [{validate: {pattern: {spec: {containers: [{image: '*:*'}]}}}}]}",
        "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: K8sAllowedRepos\nspec: {parameters: {repos: [openpolicyagent/]}}",
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nspec: {image: 'ghcr.io/a/b'}",
        f"{POD}{{containers: []}}\n# image: quay.io/a/b:1\n",
        "apiVersion: v1\nkind: ConfigMap\ndata: {service: 'default/tcp:9000', dns: 'kube-system/kube-dns:53', _example: 'image: a:1'}",
        "apiVersion: v1\nkind: Service\nmetadata: {annotations: {note: 'quay.io/a/b:1'}}",
        f"{CUSTOM}{{taint: 'node.kubernetes.io/not-ready:NoExecute', url: 'oci://ghcr.io/a/chart:1', imagePullPolicy: Always, imageTag: v1}}",
        f"{CUSTOM}{{output: {{image: 'quay.io/a/b:1'}}, identity: 'https://github.com/a/b/release.yml@refs/tags/v1'}}",
    ],
)  # fmt: skip
def test_what_only_looks_like_an_image_is_not_one(tmp_path: Path, text: str) -> None:
    assert images(found_in(tmp_path, {"k.yaml": text}, "k.yaml")) == []


@pytest.mark.parametrize(
    ("image", "want"),
    [
        (
            "'{{inputs.parameters.x}}'",
            "problem k.yaml:4 Pod p, container c: the name of the image cannot be resolved",
        ),
        (
            "'${REGISTRY}/a:1'",
            "problem k.yaml:4 Pod p, container c: the name of the image cannot be resolved",
        ),
        ("MODEL_IMAGE", "problem k.yaml:4 Pod p, container c: the name of the image cannot be resolved"),
        (
            "ko://example.com/cmd",
            "problem k.yaml:4 Pod p, container c: the name of the image cannot be resolved",
        ),
        ("controller:latest", "problem k.yaml:4 Pod p, container c: a placeholder for an image"),
        ("' '", "warning k.yaml:4 Pod p, container c: the image is filled in by the cluster"),
        ("localhost/a:1", "warning k.yaml:4 Pod p, container c: localhost/a:1 was made on one machine"),
        ("'A b'", "problem k.yaml:4 Pod p, container c: not an image reference"),
        ("':'", "problem k.yaml:4 Pod p, container c: not an image reference"),
    ],
)
def test_an_image_without_a_usable_name_is_reported_with_its_line(
    tmp_path: Path, image: str, want: str
) -> None:
    found = found_in(tmp_path, {"k.yaml": f"{POD}{{containers: [{{name: c, image: {image}}}]}}"})
    assert images(found) == []
    assert [text[: len(want)] for text in problems(found, tmp_path)] == [want]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("kind: Task\nspec: {params: [{name: b, default: 'b:1'}], steps: [{image: $(params.b)}]}", ["b:1 derived"]),
        ("kind: Task\nspec: {params: [{name: v, default: '7'}], steps: [{image: 'a:$(params.v)'}]}", ["a:7 derived"]),
        (
            ("kind: Workflow\nspec: {templates: [{container: {image: '{{ inputs.parameters.i }}'}},\n"
            "  {steps: [[{arguments: {parameters: [{name: i, value: 'a:1'}]}}, {arguments: {parameters: [{name: i, value: 'a:2'}]}}]]}]}"),
            ["a:1 derived", "a:2 derived"],
        ),
        (
            ("kind: Template\nparameters: [{name: TAG, value: '3'}]\nobjects:\n"
            "- {apiVersion: v1, kind: Pod, spec: {containers: [{image: 'a:${TAG}'}]}}"),
            ["a:3 derived"],
        ),
    ],
)  # fmt: skip
def test_parameters_with_values_are_filled_in(tmp_path: Path, text: str, want: list[str]) -> None:
    found = found_in(tmp_path, {"k.yaml": f"apiVersion: example.com/v1\n{text}\n"})
    assert images(found) == want
    assert found.problems == ()


@pytest.mark.parametrize(
    ("text", "is_warned"),
    [
        ("apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata: {name: x}\nspec: {numberOfInstances: 2}", True),
        ("apiVersion: awx.ansible.com/v1\nkind: AWX\nmetadata: {name: x}\nspec: {}", True),
        ("apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nspec: {instances: 1, imageCatalogRef: {name: c}}", False),
        ("apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nspec: {selector: {matchLabels: {a: b}}}", False),
        ("apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: {hosts: [a]}", False),
        ("apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 1}", False),
    ],
)  # fmt: skip
def test_a_resource_whose_operator_chooses_the_images_is_a_warning(
    tmp_path: Path, text: str, is_warned: bool
) -> None:
    found = found_in(tmp_path, {"k.yaml": text})
    assert [problem.severity.value for problem in found.problems] == ["warning"] * is_warned
    assert all("its operator chooses the images" in problem.what for problem in found.problems)


KEYS = st.sampled_from(
    ["image", "containers", "env", "args", "spec", "kind", "value", "name", "volumes", "tag"]
)
TEXTS = st.sampled_from(
    ["quay.io/a/b:1", "{{x}}", "", "Pod", "--x-image=a:1", "a:1\nb=quay.io/c/d:2", "@", "a@sha256:"]
)
NODES = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=60, deadline=None)
@given(spec=NODES, group=st.sampled_from(["", "apps/", "example.com/", "kyverno.io/"]))
def test_any_object_is_read_without_an_exception(spec: object, group: str) -> None:
    text = json.dumps({"apiVersion": f"{group}v1", "kind": "Thing", "spec": spec})
    placed = PlacedFindings(findings=Findings(), file=SourceFile(path=Path("k.yaml"), text=text))
    read_kubernetes(parse_nodes(text).documents, placed)
    assert all(image.place.line == 1 for image in placed.findings.images)
