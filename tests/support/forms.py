"""Archives and layouts in the forms of many makers, and what is locked of them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airgap.cli.endpoints import Endpoints
from airgap.errors import AirgapError
from airgap.manifest import Lock
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, REF_NAME
from airgap.online.lock import resolve
from tests.support.images import Image, make_index, simple_image
from tests.support.saves import item, tar
from tests.unit.online.support import manifest_of
from tests.world.table import Kind, Row

APP, WEB = simple_image("app"), simple_image("web")
MULTI = make_index([APP, simple_image("arm", platform="linux/arm64")])
NAME = "registry.example/acme/app:1"
OTHER = "registry.example/acme/web:1"
DIGEST = APP.descriptor.digest


@dataclass(frozen=True)
class Case:
    """How a form is written, what a person adds in the manifest, and what is locked."""

    write: Callable[[Path], Path]
    more: str = ""
    names: tuple[str, ...] = ()
    left_out: str = ""
    """A pattern that the one image left out matches."""
    refused: str = ""
    """A pattern that the error matches."""


AS = "as: 'made/app:1'"
MADE = ("docker.io/made/app:1",)


def lock(path: Path, more: str = "") -> Lock:
    kind = "oci" if path.is_dir() else "archive"
    return resolve(manifest_of(f"{{{kind}: '{path}', {more}}}"), Endpoints().source)


def files_of(entries: list[tuple[Image, Mapping[str, str]]], **more: bytes) -> dict[str, bytes]:
    """An OCI layout whose entries have these annotations."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    manifests = []
    for image, annotations in entries:
        files |= {digest.path: raw for digest, raw in image.contents.items()}
        manifests.append({**image.descriptor.to_json(), "annotations": dict(annotations)})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return {**files, "index.json": json.dumps(index).encode(), **more}


def tarred(
    files: dict[str, bytes], form: Callable[[bytes], bytes] = bytes, name: str = "x.tar"
) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(form(tar(files)))
        return folder / name

    return write


def folder_of(files: dict[str, bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        for name, raw in files.items():
            (folder / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "made" / name).write_bytes(raw)
        return folder / "made"

    return write


def below(top: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{top}{name}": raw for name, raw in files.items()}


def attached(kind: str, subject: Image) -> Image:
    """A small artifact that refers to an image."""
    image = simple_image(kind)
    value = json.loads(image.raw) | {"subject": subject.descriptor.to_json() | {"platform": None}}
    del value["subject"]["platform"]
    raw = json.dumps(value).encode()
    digest = Digest.of(raw)
    descriptor = replace(image.descriptor, digest=digest, size=len(raw), platform=None)
    contents = {d: c for d, c in image.contents.items() if c != image.raw} | {digest: raw}
    return Image(descriptor, raw, contents, image.config, image.layers)


def archives(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.ARCHIVES, who, does, reported, answer)


def docker_files(**changes: object) -> dict[str, bytes]:
    """The form of crane, kaniko, jib and Nix: gzip'd layers, and manifest.json alone."""
    files = {digest.path: raw for digest, raw in APP.contents.items() if raw != APP.raw}
    return {**files, "manifest.json": json.dumps([item(APP, NAME) | changes]).encode()}


def check(case: Case, folder: Path) -> None:
    """Write the form into a folder, lock it, and compare."""
    path = case.write(folder)
    if case.refused:
        with pytest.raises(AirgapError) as caught:
            lock(path, case.more)
        assert re.search(case.refused, f"{caught.value}\n{caught.value.hint}"), (
            f"{caught.value}\n{caught.value.hint}"
        )
        return
    found = lock(path, case.more)
    assert tuple(str(image.name) for image in found.images) == case.names
    if case.left_out:
        [left] = found.left_out
        assert re.search(case.left_out, str(left)), str(left)
    else:
        assert found.left_out == ()


ONE = files_of([(APP, {CONTAINERD_NAME: NAME, REF_NAME: "1"})])
UNNAMED = files_of([(APP, {})])
