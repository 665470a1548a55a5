from pathlib import Path

import pytest

from airgap.endpoints.images_folder import DISTRIBUTIONS, ImagesFolder
from airgap.endpoints.ports import ContentTarget, EngineTarget, FileTarget, FolderTarget
from airgap.errors import AirgapError, UsageError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference

A = ImageReference.parse("ghcr.io/acme/api:1")


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_it_is_only_a_folder_target(kind: str):
    found = ImagesFolder(kind)
    assert found.name == kind
    assert isinstance(found, FolderTarget)
    assert not isinstance(found, ContentTarget | EngineTarget | FileTarget)
    assert found.hint.startswith(f"{DISTRIBUTIONS[kind].folder}: ")


@pytest.mark.parametrize("endpoint", ["", "k3s:", "k8s", "k3s/x", "K3S"])
def test_no_endpoint(endpoint: str):
    with pytest.raises(UsageError, match="not an images folder"):
        ImagesFolder(endpoint)


def stored(folder: Path, *names: str) -> list[str]:
    target = ImagesFolder(f"k3s:{folder}")
    for name in names:
        target.put_archive(ImageReference.parse(name), iter([name.encode()]))
    return sorted(path.name for path in folder.iterdir())


def test_names_of_files_stay_the_same(tmp_path: Path):
    assert stored(tmp_path, "ghcr.io/acme/api:1") == ["ghcr.io_acme_api_1-f76d3bd352b0.tar"]


def test_each_name_has_a_file_of_its_own_on_fat_too(tmp_path: Path):
    long = "registry.example:5000/" + "/".join(["part"] * 40)
    names = [
        "a.example/x:tag",
        "a.example/x:TAG",
        "a.example/x_tag",
        f"{long}:1",
        f"{long}:2",
        f"{long}@sha256:{'0' * 64}",
    ]
    found = stored(tmp_path, *names)
    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert len(name) < 140
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789._-")


def test_no_archive_and_no_tar(tmp_path: Path):
    target = ImagesFolder(f"k3s:{tmp_path}")
    with pytest.raises(AirgapError):
        target.open_archive(A)
    target.put_archive(A, iter([b"no tar"]))
    with pytest.raises(AirgapError):
        target.open_archive(A)


def test_only_the_archive_of_that_name_is_removed(tmp_path: Path):
    assert len(stored(tmp_path, str(A), f"{A}0")) == 2
    target = ImagesFolder(f"k3s:{tmp_path}")
    for _ in range(2):
        target.remove_name(A, Digest.of(b""))
        assert [path.name for path in tmp_path.iterdir()] == [
            target.path_of(ImageReference.parse(f"{A}0")).name
        ]
