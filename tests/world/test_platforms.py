"""Platforms: what images are for, how they say it, and which of them are carried."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airgap.cli.main import main
from airgap.oci.digest import Digest
from airgap.oci.documents import DOCKER_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.platform import UNKNOWN, Platform
from tests.cli.conftest import Gap, gap, passphrase
from tests.support.bundles import ONE, make_gap
from tests.support.images import Image, foreign_image, make_index, simple_image, write_layout
from tests.support.registry import FakeRegistry
from tests.world.table import Kind, Row, replays, row

__all__ = ["gap", "passphrase"]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is about a build machine of this kind, unless it says another."""
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")


def image(platform: str, name: str = "") -> Image:
    return simple_image(name or platform.replace("/", "-"), size=60, platform=platform)


def stated(found: Image, platform: Platform | None, **notes: str) -> Image:
    """`found` with what its index says of it."""
    return replace(found, descriptor=replace(found.descriptor, platform=platform, annotations=notes))


def attestation(about: Image) -> Image:
    digest = about.descriptor.digest
    notes = {"vnd.docker.reference.digest": str(digest), "vnd.docker.reference.type": "attestation-manifest"}
    return stated(simple_image(f"attests {digest.hex[:8]}", size=20), UNKNOWN, **notes)


def without_platform() -> Image:
    """As `crane append --oci-empty-base` makes it."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}, "os": "", "architecture": ""}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": str(Digest.of(config)), "size": len(config)},
        "layers": [],
    }
    raw = json.dumps(manifest).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    return Image(root, raw, {Digest.of(config): config, root.digest: raw}, Digest.of(config))


AMD, ARM64, V7, V6, I386 = map(
    image, ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386")
)
OTHERS = [image(f"linux/{name}") for name in ("ppc64le", "s390x", "riscv64")]


def planned(gap: Gap, found: Image, platforms: str = "", code: int = 0) -> Any:
    """What `plan` says of an image in a registry; its error, when it fails."""
    with FakeRegistry() as registry:
        registry.add("app", "1", found)
        done = gap.online("plan", manifest(gap, registry, platforms), "--json", code=code)
    return done.err if code else done.json["images"][0]


def manifest(gap: Gap, registry: FakeRegistry, platforms: str = "") -> Path:
    head = f"platforms: {platforms}\n" if platforms else ""
    return gap.manifest(f"{registry.url.removeprefix('http://')}/app:1", head=head)


Case = tuple[Row, tuple[Callable[[], Image], str, list[str], list[str]]]


def case(
    who: str, does: str, reported: str, answer: str, found: Callable[[], Image],
    platforms: str, carried: list[str], left_out: list[str] | None = None,
) -> Case:  # fmt: skip
    return Row(Kind.PLATFORMS, who, does, reported, answer), (found, platforms, carried, left_out or [])


CASES = {
    "all of Docker Hub": case(
        "Docker Hub's official images", "are for up to nine platforms under one tag",
        "hauler-dev/hauler#155", "carries the one of this machine and reports how many others there are",
        lambda: make_index([AMD, ARM64, V7, *OTHERS]), "",
        ["linux/amd64"], ["linux/arm64", "linux/arm", "linux/ppc64le", "linux/s390x", "linux/riscv64"],
    ),
    "all of them": case(
        "hauler-dev/hauler", "takes every platform by default, and fills its store",
        "hauler-dev/hauler#380", "`platforms: all` does that",
        lambda: make_index([AMD, ARM64]), "all", ["linux/amd64", "linux/arm64"],
    ),
    "a windows entry": case(
        "registry.k8s.io/pause, golang, traefik", "have Windows entries with layers that are kept elsewhere (`urls`)",
        "podman-container-tools/skopeo#2882", "the default and `platforms: linux/…` do not look at them",
        lambda: make_index([AMD, ARM64, foreign_image()]), "", ["linux/amd64"], ["linux/arm64", "windows/amd64"],
    ),
    "attestations": case(
        "BuildKit", "adds an `unknown/unknown` entry to an index for each platform",
        "go-gitea/gitea#24973", "an attestation is carried with the platform that it is about, and is not a platform",
        lambda: make_index([AMD, attestation(AMD), ARM64, attestation(ARM64)]), "linux/arm64",
        ["linux/arm64", "unknown/unknown"], ["linux/amd64"],
    ),
    "no variant": case(
        "k8s.gcr.io", "names arm64 without a variant, where the machine is arm64/v8",
        "containers/image#898", "`linux/arm64`, `linux/arm64/v8` and no variant are the same",
        lambda: make_index([AMD, stated(ARM64, Platform("linux", "arm64"))]), "linux/arm64/v8",
        ["linux/arm64"], ["linux/amd64"],
    ),
    "variant v8": case(
        "docker-library", "names arm64 with the variant v8",
        "google/go-containerregistry#2059", "`linux/arm64` means it",
        lambda: make_index([AMD, stated(ARM64, Platform("linux", "arm64", "v8"))]), "linux/arm64",
        ["linux/arm64"], ["linux/amd64"],
    ),
    "an older variant": case(
        "Docker on arm/v7", "takes arm/v6 if there is no arm/v7",
        "docker/cli#5493", "`linux/arm/v7` takes arm/v6, and reports it",
        lambda: make_index([AMD, V6]), "linux/arm/v7", ["linux/arm/v6"], ["linux/amd64"],
    ),
    "only 386": case(
        "library/rabbitmq", "had an index for linux/386 only",
        "docker-library/rabbitmq#218", "the default of an amd64 machine takes it, and reports it",
        lambda: make_index([I386]), "", ["linux/386"],
    ),
    "no platform in the index": case(
        "containerd", "looks into the config of an index entry that has no platform",
        "moby/moby#46495", "so does airgap",
        lambda: make_index([stated(AMD, None), stated(ARM64, None)]), "linux/arm64",
        ["linux/arm64"], ["linux/amd64"],
    ),
    "the index differs from the config": case(
        "k8s.gcr.io/etcd:3.4.13-0", "has arm64 in its index and amd64 in the config below",
        "kubernetes/minikube#10402", "the index counts, as for docker and containerd",
        lambda: make_index([stated(image("linux/amd64", "etcd"), Platform("linux", "arm64"))]), "linux/arm64",
        ["linux/arm64"],
    ),
    "nested, with platforms": case(
        "ghcr.io/goauthentik/server", "has an index for each platform in its index",
        "pelagos-containers/pelagos#533", "is chosen through both levels",
        lambda: make_index(
            [
                stated(make_index([found, attestation(found)]), found.descriptor.platform)
                for found in (AMD, ARM64)
            ]
        ),
        "", ["linux/amd64", "unknown/unknown"], ["linux/arm64"],
    ),
    "nested, without": case(
        "crane pull --format=oci, nerdctl save", "put the image's index into another one without a platform",
        "container2wasm/container2wasm#208", "is chosen through both levels",
        lambda: make_index([make_index([AMD, ARM64])]), "linux/arm64", ["linux/arm64"], ["linux/amd64"],
    ),
    "versions of windows": case(
        "mcr.microsoft.com/windows", "has one entry for each version of Windows (`os.version`)",
        "containerd/containerd#6989", "`windows/amd64` carries every version",
        lambda: make_index([AMD, *(stated(image("windows/amd64", n), Platform("windows", "amd64")) for n in "ab")]),
        "windows/amd64", ["windows/amd64", "windows/amd64"], ["linux/amd64"],
    ),
    "no platform at all": case(
        "crane append --oci-empty-base", "makes an image whose config names no platform",
        "google/go-containerregistry#1839", "it is carried as `unknown/unknown`, and that is reported",
        without_platform, "linux/amd64", ["unknown/unknown"],
    ),
    "one that is not ours": case(
        "Docker, docker pull", "takes a single image for another platform, with a warning",
        "moby/moby#42325", "takes it by default, and reports it",
        lambda: ARM64, "", ["linux/arm64"],
    ),
}  # fmt: skip


@replays(CASES)
def test_what_is_carried(gap: Gap, case: tuple[Callable[[], Image], str, list[str], list[str]]) -> None:
    make, platforms, carried, left_out = case
    found = planned(gap, make(), platforms)
    assert (found["platforms"], found["left_out"]) == (carried, left_out)
    noted = set(carried) & {"linux/arm/v6", "linux/386"} or "unknown/unknown" in carried[:1]
    assert bool(found["notes"]) == (bool(noted) or (carried == ["linux/arm64"] and not platforms))


@row(
    Kind.PLATFORMS, "go-containerregistry", "takes linux/amd64 for the default on every machine, and does not say so",
    "google/go-containerregistry#1505", "the default is the machine's own, and is named",
)  # fmt: skip
@row(
    Kind.PLATFORMS, "docker and docker compose", "take the platform of DOCKER_DEFAULT_PLATFORM when they pull",
    "docker/compose#9999", "so does the default",
)  # fmt: skip
def test_the_default_of_another_machine(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64/v8")
    with FakeRegistry() as registry:
        registry.add("app", "1", make_index([AMD, ARM64, *OTHERS]))
        path = manifest(gap, registry)
        line = "only linux/arm64, as the manifest names no platforms: 4 other platforms left out; `platforms: all` carries them"
        assert line in gap.online("lock", path).out
        monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
        assert line in gap.online("plan", path).out, "the lock decides, wherever the bundle is packed"
        done = gap.online("pack", path, "--to", gap.stick)
        assert line in done.out
        assert gap.online("inspect", gap.stick / "stack-0001", "--json").json["images"][0]["platforms"] == [
            "linux/arm64"
        ]


@row(
    Kind.PLATFORMS, "seqcli and others", "publish linux/arm/v8, where linux/arm64/v8 is meant",
    "datalust/seqcli#246", "the default of an arm64 machine takes it, as docker pull does, and reports it",
)  # fmt: skip
def test_arm_v8(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    found = planned(gap, make_index([AMD, stated(image("linux/arm/v8"), Platform("linux", "arm", "v8"))]))
    assert found["platforms"] == ["linux/arm/v8"]
    assert found["notes"] == [
        "there is no image for linux/arm64; linux/arm/v8, which usually runs there, is carried"
    ]


REFUSED = {
    "not there": (
        Row(Kind.PLATFORMS, "Docker", 'fails with "no matching manifest", without what there is',
            "moby/moby#46765", "the error names the image, the platform wanted and those that there are"),
        (lambda: make_index([AMD, ARM64]), "linux/s390x", "want linux/s390x, got linux/amd64, linux/arm64"),
    ),
    "one of two": (
        Row(Kind.PLATFORMS, "oc-mirror", "copies what it has, where it lacks one of the platforms wanted",
            "openshift/oc-mirror#1435", "each wanted platform that is missing is an error"),
        (lambda: make_index([AMD]), "[linux/amd64, linux/arm64]", "want linux/arm64, got linux/amd64"),
    ),
    "silently another": (
        Row(Kind.PLATFORMS, "Docker Desktop 3.3", "falls back to amd64 without a word where arm64 was asked for",
            "docker/for-mac#5625", "asked for by name, another platform is an error"),
        (lambda: AMD, "linux/arm64", "the image is for another platform"),
    ),
    "an empty index": (
        Row(Kind.PLATFORMS, "podman manifest create and push", "push an index without any image",
            "pulp/pulp_container#854", "an error, and no bundle with an empty image"),
        (lambda: make_index([]), "", "the index has no images"),
    ),
}  # fmt: skip


@replays(REFUSED)
def test_what_is_refused(gap: Gap, case: tuple[Callable[[], Image], str, str]) -> None:
    make, platforms, message = case
    err = planned(gap, make(), platforms, code=18)
    assert message in err
    assert "/app:1" in err


SPELT = {
    "architecture alone": (
        Row(Kind.PLATFORMS, "people, docker build --platform arm64", "write the architecture without the system",
            "INCATools/ontology-development-kit#871", "\"did you mean 'linux/arm64'?\""),
        ("arm64", "did you mean 'linux/arm64'?"),
    ),
    "docker hub's names": (
        Row(Kind.PLATFORMS, "people, apptainer", "write `arm64v8`, as Docker Hub's accounts are called",
            "apptainer/apptainer#2895", "\"did you mean 'linux/arm64'?\""),
        ("linux/arm64v8", "did you mean 'linux/arm64'?"),
    ),
    "commas": (
        Row(Kind.PLATFORMS, "people, docker buildx --platform a,b", "write several with commas in one text",
            "LemmyNet/lemmy#6101", "shown as a list"),
        ("linux/amd64, linux/arm64", "write [linux/amd64, linux/arm64]"),
    ),
}  # fmt: skip


@replays(SPELT)
def test_what_people_write(gap: Gap, case: tuple[str, str]) -> None:
    written, hint = case
    path = gap.manifest("example.com/app:1", head=f"platforms: {written}\n")
    assert f"hint: {hint}" in gap.online("lock", path, code=10).err


class TestSparse:
    """Layouts whose indexes name more than they hold."""

    @row(
        Kind.PLATFORMS, "nerdctl build, BuildKit", "leaves out the base layers of platforms that are not this machine's",
        "containerd/nerdctl#951", "an incomplete platform counts as missing: another is carried, this one refused",
    )  # fmt: skip
    @row(
        Kind.PLATFORMS, "docker save of the containerd store, unpacked", "names platforms whose content was never pulled",
        "reproducible-containers/diffoci#247", "`platforms: all` carries what is present, and names what is missing",
    )  # fmt: skip
    @pytest.mark.parametrize("lost", [[0], [0, 1, 2], [2]])
    def test_a_layout(self, gap: Gap, lost: list[int]) -> None:
        folder = write_layout(gap.folder / "source", {"example.com/app:1": make_index([AMD, ARM64])})
        arm = list(ARM64.contents)
        for number in lost:
            (folder / arm[number].path).unlink()
        entry = "{oci: source, ref: 'example.com/app:1', platforms: %s}"
        found = gap.online("plan", gap.manifest(entry % "all"), "--json").json["images"][0]
        assert found["platforms"] == ["linux/amd64"]
        assert found["notes"] == ["linux/arm64: in its index, but not at the source; not carried"]
        err = gap.online("pack", gap.manifest(entry % "linux/arm64"), "--to", gap.stick, code=18).err
        assert (
            "no image for the platform: example.com/app:1, want linux/arm64, got linux/amd64; linux/arm64: in its"
            in err
        )
        gap.online("pack", gap.manifest(entry % "linux/amd64"), "--to", gap.stick)


@row(
    Kind.PLATFORMS, "airgap before 0.1.0", "sealed an index without any of its images, where the source had only another platform",
    "measured", "verify names the image, and load fails for it",
)  # fmt: skip
def test_an_old_bundle_with_an_empty_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_gap(tmp_path, now=datetime.now(UTC).replace(microsecond=0))
    index = make_index([AMD, ARM64])
    made.put_image(index.raw, media_type=OCI_INDEX, kind="artifact", platforms=())
    monkeypatch.setenv("AIRGAP_HOME", str(made.home))
    assert main(["verify", str(made.bundle)]) == 0
    output = capsys.readouterr().out
    assert f"  {ONE}: the bundle has the image index but none of its images" in output
    assert main(["load", str(made.bundle), "--to", f"oci:{tmp_path / 'out'}"]) == 12
    err = capsys.readouterr().err
    assert f"the bundle has none of the platforms of this image: {ONE}" in err
