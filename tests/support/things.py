"""One of everything that a person may give a command by mistake, as small as it can be."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

from airgap.recognise import Kind


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

THINGS: Mapping[str, tuple[Kind, str, bytes | Callable[[Path], None]]] = {
    "bundle": (Kind.BUNDLE, "stack-0001", files(bundle__dsse__json="{}", oci_layout="{}", blobs_="")),
    "bundle's tar": (Kind.BUNDLE_TAR, "stack-0001.tar", tar_of("statement.json", "bundle.dsse.json")),
    "bundle's tar, cut off": (Kind.UNFINISHED, "cut.tar", tar_of("statement.json", "blobs/sha256/0")),
    "unfinished bundle": (Kind.UNFINISHED, "stack-0002", files(statement__json="{}", blobs_="", index__json="{}")),
    "volume": (Kind.VOLUME, "stack-0001.v1", files(volume__json="{}", bundle__dsse__json="{}")),
    "folder of volumes": (Kind.VOLUMES, "volumes", volumes),
    "root of a medium": (Kind.MEDIUM, "stick", medium),
    "empty folder": (Kind.EMPTY_FOLDER, "mnt", files()),
    "kit": (Kind.KIT, "airgap-kit-0.1.0", files(kit__dsse__json="{}", install__sh="")),
    "state of a site": (Kind.SITE, "home", files(site__json="{}", trust_="", ledger__jsonl="")),
    "OCI layout": (Kind.LAYOUT, "layout", files(index__json="{}", blobs_="")),
    "dir: of skopeo": (Kind.DIR_IMAGE, "dir", files(version="Directory Transport Version: 1.1\n", manifest__json="{}")),
    "Helm chart's folder": (Kind.CHART, "chart", files(Chart__yaml="apiVersion: v2\n", templates_="")),
    "docker save": (Kind.DOCKER_ARCHIVE, "web.tar", tar_of("0a/layer.tar", "0a.json", "manifest.json", "repositories")),
    "docker save of a containerd store": (Kind.DOCKER_ARCHIVE, "web.tar", tar_of("blobs/", "index.json", "manifest.json")),
    "OCI archive": (Kind.OCI_ARCHIVE, "web.tar", tar_of("blobs/sha256/0", "index.json", "oci-layout")),
    "archive with ./ in its names": (Kind.DOCKER_ARCHIVE, "web.tar", tar_of("./0a.json", "./manifest.json")),
    "docker export": (Kind.EXPORT, "web.tar", tar_of(".dockerenv", "bin/", "etc/", "etc/passwd")),
    "other tar": (Kind.TAR, "etc.tar", tar_of("etc/passwd")),
    "gzip'd tar": (Kind.PACKED_TAR, "web.tar.gz", gzip.compress(tar_of("manifest.json"))),
    "gzip": (Kind.PACKED, "notes.gz", gzip.compress(b"notes")),
    "zstd": (Kind.PACKED, "rke2-images.tar.zst", zstandard.compress(tar_of("manifest.json"))),
    "xz": (Kind.PACKED, "web.tar.xz", b"\xfd7zXZ\0\0\4"),
    "zip": (Kind.ZIP, "web.zip", b"PK\3\4" + bytes(30)),
    "manifest": (Kind.MANIFEST, "stack.yaml", b"version: 1\nname: stack\nimages:\n  - nginx\n"),
    "lock": (Kind.LOCK, "stack.lock.yaml", b"# airgap\nversion: 1\nmanifest_sha256: 00\nimages: []\n"),
    "inventory": (Kind.INVENTORY, "hosts.yaml", b"version: 1\nhosts:\n  - plant-a\n"),
    "Compose": (Kind.COMPOSE, "compose.yaml", b'version: "3.8"\nservices:\n  web:\n    image: nginx\n'),
    "Kubernetes": (Kind.KUBERNETES, "pod.yaml", b"apiVersion: v1\nkind: Pod\nspec: {}\n"),
    "Kubernetes in JSON": (Kind.KUBERNETES, "pod.json", b'{"apiVersion":"v1","kind":"Pod"}'),
    "kustomization": (Kind.KUSTOMIZATION, "kustomization.yaml", b"resources: [a.yaml]\nimages:\n  - name: nginx\n"),
    "Chart.yaml": (Kind.CHART, "Chart.yaml", b"apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    "Hauler": (Kind.HAULER, "hauler.yaml", b"apiVersion: content.hauler.cattle.io/v1\nkind: Images\nspec: {}\n"),
    "Zarf": (Kind.ZARF, "zarf.yaml", b"kind: ZarfPackageConfig\nmetadata:\n  name: x\ncomponents: []\n"),
    "Dockerfile": (Kind.DOCKERFILE, "Dockerfile", b"# syntax=docker/dockerfile:1\nFROM alpine:3\nRUN true\n"),
    "list of images": (Kind.IMAGE_LIST, "k3s-images.txt", b"docker.io/rancher/klipper-helm:v0.8\nrancher/mirrored-pause:3.6\n"),
    "receipt": (Kind.RECEIPT, "stack-0001-3.receipt.json", signed("urn:airgap:receipt:v1")),
    "envelope of a bundle": (Kind.PART, "bundle.dsse.json", signed("urn:airgap:bundle:v1")),
    "statement": (Kind.PART, "statement.json", b'{"_type":"x"}'),
    "other signed document": (Kind.ENVELOPE, "sbom.dsse.json", signed("https://spdx.dev/Document")),
    "trust root": (Kind.ROOT, "1.root.json", ROOT),
    "ledger": (Kind.LEDGER, "ledger.jsonl", b'{"seq":1,"prev":"00","time":"x"}\n{"seq":2,"prev":"01"}\n'),
    "public key": (Kind.PUBLIC_KEY, "alice.pub", PEM.format("PUBLIC KEY").encode()),
    "public SSH key": (Kind.PUBLIC_KEY, "id.pub", b"ssh-ed25519 AAAA carrier@hq\n"),
    "private key": (Kind.PRIVATE_KEY, "alice.pem", PEM.format("ENCRYPTED PRIVATE KEY").encode()),
    "private SSH key": (Kind.PRIVATE_KEY, "id", PEM.format("OPENSSH PRIVATE KEY").encode()),
    "private key of cosign": (Kind.PRIVATE_KEY, "cosign.key", PEM.format("ENCRYPTED SIGSTORE PRIVATE KEY").encode()),
    "certificate": (Kind.CERTIFICATE, "ca.pem", b"subject=CN = x\n" + PEM.format("CERTIFICATE").encode()),
    "empty file": (Kind.EMPTY, "empty", b""),
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
