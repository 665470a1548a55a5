"""One of everything that a person may give a command by mistake, as small as it can be."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

from airgap.recognise import PathKind


def tar_of(*names: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3000
            tar.addfile(member, io.BytesIO(bytes(3000)))
    return raw.getvalue()


def signed(kind: str) -> bytes:
    payload = json.dumps(
        {"_type": "x", "subject": [{"name": "a"}] * 40, "predicateType": kind}, separators=(",", ":")
    )
    encoded = base64.b64encode(payload.encode()).decode()
    return json.dumps(
        {"payload": encoded, "payloadType": "application/vnd.in-toto+json", "signatures": []}
    ).encode()


def files(**content: str) -> Callable[[Path], None]:
    """A folder of these; `__` in a name stands for a dot, and a name that ends in `_` is a folder."""

    def make(path: Path) -> None:
        path.mkdir()
        for name, text in content.items():
            if name.endswith("_"):
                (path / name[:-1]).mkdir()
            else:
                (path / name.replace("__", ".")).write_text(text)

    return make


def volumes(path: Path) -> None:
    for number in (1, 2):
        (path / f"stack-0001.v{number}").mkdir(parents=True)
        (path / f"stack-0001.v{number}" / "volume.json").write_text("{}")


def medium(path: Path) -> None:
    (path / "photos").mkdir(parents=True)
    (path / "stack-0001").mkdir()
    (path / "stack-0001" / "bundle.dsse.json").write_text("{}")
    (path / "other-0007.tar").write_bytes(tar_of("statement.json", "bundle.dsse.json"))


ROOT = b'{"payload":"e30=","payloadType":"application/vnd.airgap.root.v1+json","signatures":[]}'
PEM = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"

THINGS: Mapping[str, tuple[PathKind, str, bytes | Callable[[Path], None]]] = {
    "bundle": (PathKind.BUNDLE, "stack-0001", files(bundle__dsse__json="{}", oci_layout="{}", blobs_="")),
    "bundle's tar": (PathKind.BUNDLE_TAR, "stack-0001.tar", tar_of("statement.json", "bundle.dsse.json")),
    "bundle's tar, cut off": (PathKind.UNFINISHED, "cut.tar", tar_of("statement.json", "blobs/sha256/0")),
    "unfinished bundle": (PathKind.UNFINISHED, "stack-0002", files(statement__json="{}", blobs_="", index__json="{}")),
    "volume": (PathKind.VOLUME, "stack-0001.v1", files(volume__json="{}", bundle__dsse__json="{}")),
    "folder of volumes": (PathKind.VOLUMES, "volumes", volumes),
    "root of a medium": (PathKind.MEDIUM, "stick", medium),
    "empty folder": (PathKind.EMPTY_FOLDER, "mnt", files()),
    "kit": (PathKind.KIT, "airgap-kit-0.1.0", files(kit__dsse__json="{}", install__sh="")),
    "state of a site": (PathKind.SITE, "home", files(site__json="{}", trust_="", ledger__jsonl="")),
    "OCI layout": (PathKind.LAYOUT, "layout", files(index__json="{}", blobs_="")),
    "dir: of skopeo": (PathKind.DIR_IMAGE, "dir", files(version="Directory Transport Version: 1.1\n", manifest__json="{}")),
    "Helm chart's folder": (PathKind.CHART, "chart", files(Chart__yaml="apiVersion: v2\n", templates_="")),
    "docker save": (PathKind.DOCKER_ARCHIVE, "web.tar", tar_of("0a/layer.tar", "0a.json", "manifest.json", "repositories")),
    "docker save of a containerd store": (PathKind.DOCKER_ARCHIVE, "web.tar", tar_of("blobs/", "index.json", "manifest.json")),
    "OCI archive": (PathKind.OCI_ARCHIVE, "web.tar", tar_of("blobs/sha256/0", "index.json", "oci-layout")),
    "archive with ./ in its names": (PathKind.DOCKER_ARCHIVE, "web.tar", tar_of("./0a.json", "./manifest.json")),
    "docker export": (PathKind.EXPORT, "web.tar", tar_of(".dockerenv", "bin/", "etc/", "etc/passwd")),
    "other tar": (PathKind.TAR, "etc.tar", tar_of("etc/passwd")),
    "gzip'd tar": (PathKind.PACKED_TAR, "web.tar.gz", gzip.compress(tar_of("manifest.json"))),
    "gzip": (PathKind.PACKED, "notes.gz", gzip.compress(b"notes")),
    "zstd": (PathKind.PACKED, "rke2-images.tar.zst", zstandard.compress(tar_of("manifest.json"))),
    "xz": (PathKind.PACKED, "web.tar.xz", b"\xfd7zXZ\0\0\4"),
    "zip": (PathKind.ZIP, "web.zip", b"PK\3\4" + bytes(30)),
    "manifest": (PathKind.MANIFEST, "stack.yaml", b"version: 1\nname: stack\nimages:\n  - nginx\n"),
    "lock": (PathKind.LOCK, "stack.lock.yaml", b"# airgap\nversion: 1\nmanifest_sha256: 00\nimages: []\n"),
    "inventory": (PathKind.INVENTORY, "hosts.yaml", b"version: 1\nhosts:\n  - plant-a\n"),
    "Compose": (PathKind.COMPOSE, "compose.yaml", b'version: "3.8"\nservices:\n  web:\n    image: nginx\n'),
    "Kubernetes": (PathKind.KUBERNETES, "pod.yaml", b"apiVersion: v1\nkind: Pod\nspec: {}\n"),
    "Kubernetes in JSON": (PathKind.KUBERNETES, "pod.json", b'{"apiVersion":"v1","kind":"Pod"}'),
    "kustomization": (PathKind.KUSTOMIZATION, "kustomization.yaml", b"resources: [a.yaml]\nimages:\n  - name: nginx\n"),
    "Chart.yaml": (PathKind.CHART, "Chart.yaml", b"apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    "Hauler": (PathKind.HAULER, "hauler.yaml", b"apiVersion: content.hauler.cattle.io/v1\nkind: Images\nspec: {}\n"),
    "Zarf": (PathKind.ZARF, "zarf.yaml", b"kind: ZarfPackageConfig\nmetadata:\n  name: x\ncomponents: []\n"),
    "Dockerfile": (PathKind.DOCKERFILE, "Dockerfile", b"# syntax=docker/dockerfile:1\nFROM alpine:3\nRUN true\n"),
    "list of images": (PathKind.IMAGE_LIST, "k3s-images.txt", b"docker.io/rancher/klipper-helm:v0.8\nrancher/mirrored-pause:3.6\n"),
    "receipt": (PathKind.RECEIPT, "stack-0001-3.receipt.json", signed("urn:airgap:receipt:v1")),
    "envelope of a bundle": (PathKind.PART, "bundle.dsse.json", signed("urn:airgap:bundle:v1")),
    "statement": (PathKind.PART, "statement.json", b'{"_type":"x"}'),
    "other signed document": (PathKind.ENVELOPE, "sbom.dsse.json", signed("https://spdx.dev/Document")),
    "trust root": (PathKind.ROOT, "1.root.json", ROOT),
    "backup": (PathKind.BACKUP, "hq.age", b"age-encryption.org/v1\n-> scrypt c2FsdA 18\n"),
    "ledger": (PathKind.LEDGER, "ledger.jsonl", b'{"seq":1,"prev":"00","time":"x"}\n{"seq":2,"prev":"01"}\n'),
    "public key": (PathKind.PUBLIC_KEY, "alice.pub", PEM.format("PUBLIC KEY").encode()),
    "public SSH key": (PathKind.PUBLIC_KEY, "id.pub", b"ssh-ed25519 AAAA carrier@hq\n"),
    "private key": (PathKind.PRIVATE_KEY, "alice.pem", PEM.format("ENCRYPTED PRIVATE KEY").encode()),
    "private SSH key": (PathKind.PRIVATE_KEY, "id", PEM.format("OPENSSH PRIVATE KEY").encode()),
    "private key of cosign": (PathKind.PRIVATE_KEY, "cosign.key", PEM.format("ENCRYPTED SIGSTORE PRIVATE KEY").encode()),
    "certificate": (PathKind.CERTIFICATE, "ca.pem", b"subject=CN = x\n" + PEM.format("CERTIFICATE").encode()),
    "empty file": (PathKind.EMPTY, "empty", b""),
}  # fmt: skip


def make_thing(name: str, folder: Path) -> Path:
    """The thing of that name, in `folder`."""
    _, file, content = THINGS[name]
    path = folder / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return path
