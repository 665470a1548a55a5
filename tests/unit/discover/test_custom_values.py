"""The images in the fields of custom resources."""

from pathlib import Path

import pytest

from tests.support.found import found_in, images


def resource(group: str, spec: str) -> dict[str, str]:
    return {"k.yaml": f"apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: t}}\nspec: {spec}\n"}


@pytest.mark.parametrize(
    ("group", "spec", "want"),
    [
        ("monitoring.coreos.com", "{image: 'quay.io/p/p:v3'}", ["quay.io/p/p:v3 sure"]),
        ("postgresql.cnpg.io", "{imageName: 'registry.dev:5000/p:16'}", ["registry.dev:5000/p:16 sure"]),
        (
            "postgresql.cnpg.io",
            "{postgresql: {extensions: [{name: x, image: {reference: 'ghcr.io/c/x:3'}}]}}",
            ["ghcr.io/c/x:3 sure"],
        ),
        ("ceph.rook.io", "{cephVersion: {image: 'quay.io/ceph/ceph:v20'}}", ["quay.io/ceph/ceph:v20 sure"]),
        ("example.com", "{image: 'quay.io/a/b:1'}", ["quay.io/a/b:1 derived"]),
        ("build.openshift.io", "{from: {kind: DockerImage, name: 'ubi:8'}}", ["ubi:8 derived"]),
        ("build.openshift.io", "{from: {kind: ImageStreamTag, name: 'nodejs:20'}}", []),
        ("example.com", "{image: nginx}", ["nginx:latest guess"]),
        ("example.com", "{image: {repository: quay.io/a/b, tag: v1}}", ["quay.io/a/b:v1 derived"]),
        ("example.com", "{items: [{image: debian, tag: '9.1'}]}", ["debian:9.1 derived"]),
        ("nvidia.com", "{driver: {repository: nvcr.io/nvidia, image: driver, version: 5.1}}", ["nvcr.io/nvidia/driver:5.1 derived"]),
        ("example.com", "{source: 'docker://quay.io/a/disk:1'}", ["quay.io/a/disk:1 derived"]),
        ("example.com", "{driver: 'quay.io/a/driver:1'}", ["quay.io/a/driver:1 guess"]),
        ("example.com", "{image: {repository: 'https://git.example.com/x'}, repository: charts}", []),
        ("example.com", "{image: true, imageSize: 10Gi, description: 'quay.io/a/b:1'}", []),
    ],
)  # fmt: skip
def test_fields_of_custom_resources(tmp_path: Path, group: str, spec: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, resource(group, spec))) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            ("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: r}\n"
            "spec: {chart: {spec: {chart: app}}, values: {redis: {repository: r.io/redis, tag: '8'}}}"),
            ["r.io/redis:8 derived"],
        ),
        (
            ("apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: r}\nspec:\n  chart: app\n"
            "  valuesContent: |\n    image: {repository: r.io/app, tag: '1'}\n"),
            ["r.io/app:1 derived"],
        ),
        (
            ("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: r}\n"
            "spec: {source: {chart: app, helm: {values: 'image: {repository: r.io/app, tag: v1}'}}}"),
            ["r.io/app:v1 derived"],
        ),
    ],
)  # fmt: skip
def test_a_chart_that_an_object_installs_is_a_problem(tmp_path: Path, text: str, want: list[str]) -> None:
    found = found_in(tmp_path, {"k.yaml": text})
    assert images(found) == want
    assert [problem.what for problem in found.problems] == ["the chart app is not read, only values here"]


def test_an_object_in_a_text_is_derived(tmp_path: Path) -> None:
    manifest = "apiVersion: batch/v1\n      kind: Job\n      image: 'alpine:3'\n"
    spec = (
        f"\n  templates:\n  - resource:\n      manifest: |\n        {manifest.replace('      ', '        ')}"
    )
    assert images(found_in(tmp_path, resource("argoproj.io", spec))) == ["alpine:3 derived"]
