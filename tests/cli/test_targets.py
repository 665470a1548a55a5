"""load --to and --map, and serve --snippets: what people type, and what they are told."""

import json
import subprocess
from pathlib import Path

import pytest

from airgap.trust.envelope import Envelope
from tests.cli.conftest import Gap, Side, files_of
from tests.cli.test_main import started
from tests.support.images import simple_image, write_layout

API, WEB = simple_image("api"), simple_image("web")

# -- load --map


def test_map_is_told_everywhere(gap: Gap) -> None:
    done = gap.offline(
        *("load", gap.pack(), "--to", f"oci:{gap.folder}/out", "--json"),
        *("--map", "example.com=harbor.example/mirror", "--map", "example.com/web=harbor.example/web"),
    )
    names = ["harbor.example/mirror/api:1", "harbor.example/web:1"]
    assert [image["reference"] for image in done.json["images"]] == names
    index = json.loads((gap.folder / "out" / "index.json").read_text())
    assert {e["annotations"]["io.containerd.image.name"] for e in index["manifests"]} == set(names)
    receipt = Envelope.parse(Path(done.json["receipt"]).read_bytes(), "receipt")
    assert [subject["name"] for subject in json.loads(receipt.payload)["subject"]][1:] == names
    begin, end = gap.offline.records()[-2:]
    assert begin["map"] == ["example.com=harbor.example/mirror", "example.com/web=harbor.example/web"]
    assert [image["reference"] for image in end["effect"]] == names
    assert [image["reference"] for image in end["images"]] == ["example.com/api:1", "example.com/web:1"]


BAD_MAPS = {
    "no target": (["example.com"], "not a valid --map: example.com, want FROM=TO"),
    "no host": (["example.com=mirror"], "not a valid --map: example.com=mirror, want FROM=TO"),
    "a tag": (["example.com/api:1=h.io"], "without a tag"),
    "twice": (
        ["example.com=h.io", "example.com=k.io"],
        "two --map options have the same prefix: example.com",
    ),
    "one name": (
        ["example.com/api=example.com/web"],
        "two images would have the same name: example.com/web:1",
    ),
    "no name": (["example.com/api=h.io"], "the name from --map is not an image name: example.com/api=h.io"),
}


@pytest.mark.parametrize(("maps", "message"), BAD_MAPS.values(), ids=BAD_MAPS)
@pytest.mark.parametrize("kind", ["oci", "archive", "k3s"])
def test_bad_maps(gap: Gap, kind: str, maps: list[str], message: str) -> None:
    words = [word for text in maps for word in ("--map", text)]
    done = gap.offline("load", gap.pack(), "--to", f"{kind}:{gap.folder}/out", *words, code=2)
    assert message in done.err
    assert not (gap.folder / "out").exists()
    assert not (gap.offline.home / "received").exists()


def test_a_map_for_nothing_is_noted(gap: Gap) -> None:
    done = gap.offline("load", gap.pack(), "--to", f"oci:{gap.folder}/out", "--map", "quay.io=h.io")
    assert "--map quay.io=h.io: no image of this bundle has such a name" in done.err


# -- load --to


def test_an_images_folder(gap: Gap) -> None:
    bundle, folder = gap.pack(), gap.folder / "images"
    done = gap.offline("load", bundle, "--to", f"k3s:{folder}")
    assert f"{folder}: k3s imports it when it starts" in done.err
    before = files_of(folder)
    assert sorted(name.rpartition("-")[0] for name in before) == ["example.com_api_1", "example.com_web_1"]
    again = gap.offline("load", bundle, "--to", f"k3s:{folder}")
    assert "nothing to do" in again.out
    assert "k3s imports" not in again.err
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("containerd:", 2, "not a target: containerd:,"),
        ("containerd:a/b", 2, "did you mean containerd, with CONTAINERD_ADDRESS=a/b?"),
        ("containerd", 18, "ctr version failed: containerd:k8s.io"),
        ("podman", 18, "the engine does not answer: podman"),
        ("podman:/run/podman.sock", 2, "did you mean podman:unix:///run/podman.sock?"),
        ("k3s:", 2, "not an images folder"),
        ("crio", 2, "not a target: crio, want docker"),
    ],
)
def test_targets_that_are_none(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, code: int, message: str
) -> None:
    ctr = tmp_path / "bin" / "ctr"
    ctr.parent.mkdir()
    ctr.write_text("#!/bin/sh\necho 'ctr: nobody is there' >&2; exit 1\n")
    ctr.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ctr.parent}:/bin:/usr/bin")
    monkeypatch.setenv("CONTAINERD_ADDRESS", f"{tmp_path}/c.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/p.sock")
    assert message in gap.offline("load", gap.pack(), "--to", target, code=code).err


# -- serve --snippets


def test_snippets_are_of_what_is_served(fresh: Side, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"example.com/api:1": API, "docker.io/library/web:1": WEB})
    words = ("serve", tmp_path / "source", "--port", "0", "--snippets", "all", "--json")
    with started(fresh.home, *words, stdout=subprocess.PIPE) as process:
        lines = iter(process.stdout.readline, b"}\n")
        told = json.loads(b"".join([*lines, b"}"]))
    assert [(each["client"], each["path"]) for each in told["snippets"]] == [
        ("docker", "/etc/docker/daemon.json"),
        ("containerd", "/etc/containerd/certs.d/docker.io/hosts.toml"),
        ("containerd", "/etc/containerd/certs.d/example.com/hosts.toml"),
        ("k3s", "/etc/rancher/k3s/registries.yaml"),
    ]
    assert all(f"http://{told['address']}" in each["content"] for each in told["snippets"])


def test_snippets_for_people(fresh: Side, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"example.com/api:1": API})
    words = ("serve", tmp_path / "source", "--port", "0", "--bind", "0.0.0.0", "--snippets", "k3s", "--quiet")
    with started(fresh.home, *words, stdout=subprocess.PIPE) as process:
        text = b"".join(process.stdout.readline() for _ in range(8)).decode()
    assert "\n# /etc/rancher/k3s/registries.yaml: on each node" in text
    assert '"example.com":\n    endpoint:\n      - "http://' in text
    assert "http://0.0.0.0" not in text.partition("#")[2]


def test_snippets_of_no_client(fresh: Side) -> None:
    done = fresh("serve", ".", "--snippets", "podman", code=2)
    assert "unknown --snippets, want docker, containerd, k3s or all, got podman" in done.err
