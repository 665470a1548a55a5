"""The images in the fields of custom resources."""

from pathlib import Path

import pytest

from tests.unit.discover.found import found_in, images


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
