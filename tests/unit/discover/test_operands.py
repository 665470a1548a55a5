"""The images that programs start by themselves: arguments, environment variables and ConfigMaps."""

from pathlib import Path

import pytest

from tests.support.found import found_in, images

CONTAINER = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n"
CONFIGURATION = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n"
DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ("[--engine-image, 'longhornio/engine:1']", ["longhornio/engine:1 guess"]),
        (f"[-shell-image-win, 'mcr.microsoft.com/powershell@{DIGEST}']", [f"mcr.microsoft.com/powershell@{DIGEST} guess"]),
        ("['--solver-image=quay.io/a/solver:v1']", ["quay.io/a/solver:v1 guess"]),
        ("['--reloader=quay.io/a/reloader:v1']", ["quay.io/a/reloader:v1 guess"]),
        ("['--image', busybox]", ["busybox:latest guess"]),
        ("['--service=kube-system/kubelet:10', '--to', 'a/b:1']", []),
        ("['--destination=quay.io/a/b:1', '--cache-repo', 'quay.io/a/c:1']", []),
        ("['--image=$(IMAGE)', '--image={{x}}', '--image-pull-policy=Always']", []),
        ("[sh, -c, 'curl https://quay.io/a/b:1 && podman run quay.io/a/b:2']", ["quay.io/a/b:2 guess"]),
    ],
)  # fmt: skip
def test_arguments_name_images(tmp_path: Path, arguments: str, want: list[str]) -> None:
    assert (
        images(found_in(tmp_path, {"k.yaml": f"{CONTAINER}    args: {arguments}\n    image: ''\n"})) == want
    )


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("RELATED_IMAGE_X", "a/b:1", ["a/b:1 derived"]),
        ("CSI_ATTACHER_IMAGE", "longhornio/csi-attacher:v4", ["longhornio/csi-attacher:v4 guess"]),
        ("DEFAULT_MAVEN_BUILDER", "quay.io/strimzi/maven-builder:1.2.0", ["quay.io/strimzi/maven-builder:1.2.0 guess"]),
        ("IMAGES", "|\n        4.1=quay.io/k/k:4.1\n        4.2=quay.io/k/k:4.2\n", ["quay.io/k/k:4.1 guess", "quay.io/k/k:4.2 guess"]),
        ("LIST", "'quay.io/k/a:1,quay.io/k/b:1'", ["quay.io/k/a:1 guess", "quay.io/k/b:1 guess"]),
        ("INIT_IMAGE_VERSION", "v1.2", []),
        ("IMAGE", "'true'", []),
        ("URL", "http://a.example.com/x:1", []),
        ("TAINT", "node.kubernetes.io/unreachable:NoExecute", []),
        ("ADDRESS", "db.default.svc/x:5432", []),
        ("FILE_IMAGE", "pictures/logo.png", []),
    ],
)  # fmt: skip
def test_environment_variables_name_images(tmp_path: Path, name: str, value: str, want: list[str]) -> None:
    text = f"{CONTAINER}    image: ''\n    env:\n    - name: {name}\n      value: {value}\n"
    assert images(found_in(tmp_path, {"k.yaml": text})) == want


@pytest.mark.parametrize(
    ("data", "want"),
    [
        ("  docker_image: ghcr.io/z/spilo:4", ["ghcr.io/z/spilo:4 guess"]),
        ("  provisioner: registry.k8s.io/sig-storage/csi-provisioner:v6", ["registry.k8s.io/sig-storage/csi-provisioner:v6 guess"]),
        ("  pod.yaml: |\n    spec:\n      image: busybox\n      # image: comment:1\n", ["busybox:latest guess"]),
        ('  config: |\n    sandbox_image = "registry.k8s.io/pause:3.10"\n', ["registry.k8s.io/pause:3.10 guess"]),
        ('  pod.yaml: |\n    image: "{{ .Values.image }}"\n', []),
        ("  labels: application:spilo\n  role: log_statement:all", []),
        ("  realm: 'https://info.example.com/x?access_token= uid realm=/employees'", []),
    ],
)  # fmt: skip
def test_configuration_names_images(tmp_path: Path, data: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, {"k.yaml": CONFIGURATION + data})) == want


def test_a_name_in_a_block_has_its_own_line(tmp_path: Path) -> None:
    found = found_in(tmp_path, {"k.yaml": CONFIGURATION + "  a: |\n    x\n    1=quay.io/k/k:1\n"})
    assert [image.places[0].place.line for image in found.images] == [7]
