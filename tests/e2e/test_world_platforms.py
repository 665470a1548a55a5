"""Images of some of their platforms in real engines, layouts and registries: packed, or refused by name."""

import json
import subprocess
from dataclasses import replace

import pytest

from airgap.oci.platform import UNKNOWN
from tests.e2e.airgap import Gap
from tests.e2e.corpus import push
from tests.support.engines import Engine
from tests.support.images import Image, foreign_image, make_index, simple_image, write_layout
from tests.support.parts import require_tool
from tests.support.registries import RealRegistry
from tests.world.table import Kind, row

AMD, ARM = (simple_image(name, platform=f"linux/{name}") for name in ("amd64", "arm64"))
MULTI = make_index([AMD, ARM])


def attestation(about: Image) -> Image:
    found = simple_image("attests")
    notes = {
        "vnd.docker.reference.digest": str(about.descriptor.digest),
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return replace(found, descriptor=replace(found.descriptor, platform=UNKNOWN, annotations=notes))


def manifest(name: str, source: str, platforms: str = "") -> str:
    entry = f"  - {{ref: '{name}', {source}}}\n"
    return f"version: 1\nname: stack\n{f'platforms: {platforms}' if platforms else ''}\nimages:\n{entry}"


def refusal(gap: Gap, text: str) -> str:
    path = gap.folder / "stack.yaml"
    path.write_text(text)
    return gap.online("pack", path, "--to", gap.folder / "stick", code=18).err


@row(
    Kind.PLATFORMS,
    "Docker 28, containerd store",
    "keeps of an index the one platform that was pulled, and saves the index with that one only",
    "docker/cli#5476",
    "pack fails with the image, the platform wanted and those that are there, unless that one is asked for",
)
@pytest.mark.parametrize(("there", "asked"), [("arm64", "amd64"), ("amd64", "arm64")])
def test_an_engine_with_another_platform_than_is_wanted(
    gap: Gap, registry: RealRegistry, docker28c: Engine, there: str, asked: str
) -> None:
    push(registry, {"acme/x:1": MULTI})
    name = f"{registry.host}/acme/x:1"
    docker28c.docker("pull", "--platform", f"linux/{there}", name)
    source = f"source: 'docker:{docker28c.host}'"
    for platforms in (f"linux/{asked}", f"[linux/{there}, linux/{asked}]"):
        err = refusal(gap, manifest(name, source, platforms))
        assert (
            f"no image for the platform: {name}, want linux/{asked}, got linux/{there}; linux/{asked}: in its index"
            in err
        )
    assert not list(gap.folder.glob("stick/*/bundle.dsse.json"))
    for platforms in (f"linux/{there}", "all"):
        if there == "arm64":  # not the engine's own
            assert "cannot save an image that lacks the engine's own platform" in refusal(
                gap, manifest(name, source, platforms)
            )
            continue
        bundle = gap.pack(manifest(name, source, platforms))
        found = gap.online("inspect", bundle).json["images"][0]
        assert (found["digest"], found["platforms"]) == (str(MULTI.descriptor.digest), [f"linux/{there}"])


@row(
    Kind.PLATFORMS,
    "Docker 27 to 28.5, containerd store",
    '`docker save` fails with "content digest … not found" where another platform than the engine\'s was pulled',
    "docker/cli#5493",
    "the engine is asked first, and the error names its own platform and the remedy; with that one there as well, the other is carried",
)
def test_an_engine_that_lacks_its_own_platform(gap: Gap, registry: RealRegistry, docker28c: Engine) -> None:
    push(registry, {"acme/x:1": MULTI})
    name = f"{registry.host}/acme/x:1"
    source = f"source: 'docker:{docker28c.host}'"
    docker28c.docker("pull", "--platform", "linux/arm64", name)
    err = refusal(gap, manifest(name, source))
    assert (
        f"no image for the platform: {name}, want linux/amd64 (the default, as the manifest names no platforms)"
        in err
    )
    err = refusal(gap, manifest(name, source, "linux/arm64"))
    assert "this engine cannot save an image that lacks the engine's own platform" in err
    assert f"hint: docker pull --platform linux/amd64 {name} there" in err
    docker28c.docker("pull", "--platform", "linux/amd64", name)
    bundle = gap.pack(manifest(name, source, "linux/arm64"))
    assert gap.online("inspect", bundle).json["images"][0]["platforms"] == ["linux/arm64"]


@row(
    Kind.PLATFORMS,
    "docker build --platform on a containerd store",
    "makes an index of the one platform that was built and its attestation",
    "docker/cli#5476",
    "asked for by `platforms:` it is carried; the default of another machine is an error that names it",
)
def test_an_image_that_was_built_for_another_platform(
    gap: Gap, registry: RealRegistry, docker28c: Engine
) -> None:
    push(registry, {"acme/x:1": make_index([ARM, attestation(ARM)])})
    name = f"{registry.host}/acme/x:1"
    source = f"source: 'docker:{docker28c.host}'"
    docker28c.docker("pull", "--platform", "linux/arm64", name)
    assert "got linux/arm64" in refusal(gap, manifest(name, source))
    bundle = gap.pack(manifest(name, source, "linux/arm64"))
    assert gap.online("inspect", bundle).json["images"][0]["platforms"] == ["linux/arm64"]


@row(
    Kind.PLATFORMS,
    "Docker 28, containerd store",
    "`docker save` writes an index whose other platforms are not in the archive",
    "reproducible-containers/diffoci#247",
    "archives and folders unpacked from them are read alike: the platform that is there is carried, another is refused",
)
@pytest.mark.parametrize("form", ["archive", "oci"])
def test_its_archive_and_the_archive_unpacked(
    gap: Gap, registry: RealRegistry, docker28c: Engine, form: str
) -> None:
    push(registry, {"acme/x:1": MULTI})
    name = f"{registry.host}/acme/x:1"
    docker28c.docker("pull", "--platform", "linux/amd64", name)
    where = gap.folder / "saved.tar"
    docker28c.docker("save", "-o", where, name)
    if form == "oci":
        folder = gap.folder / "unpacked"
        folder.mkdir()
        subprocess.run(["tar", "-C", folder, "-xf", where], check=True)
        where = folder
    err = refusal(gap, manifest(name, f"{form}: {where}", "linux/arm64"))
    assert (
        f"no image for the platform: {name}, want linux/arm64, got linux/amd64; linux/arm64: in its index"
        in err
    )
    assert not list(gap.folder.glob("stick/*/bundle.dsse.json"))
    bundle = gap.pack(manifest(name, f"{form}: {where}"))
    assert gap.online("inspect", bundle).json["images"][0]["platforms"] == ["linux/amd64"]
    loaded = gap.offline("load", bundle, "--to", f"docker:{docker28c.host}").json["images"]
    assert [image["verdict"] for image in loaded] == ["already there"]


@row(
    Kind.PLATFORMS,
    "skopeo 1.9",
    "`copy` to a layout takes this machine's platform out of the index, `copy --all` the whole index",
    "measured",
    "either is carried with the digest that skopeo wrote",
)
def test_what_skopeo_copies(gap: Gap, registry: RealRegistry) -> None:
    skopeo = require_tool("skopeo")
    push(registry, {"acme/x:1": MULTI})
    for options, digest, left in (((), AMD, []), (("--all",), MULTI, ["linux/arm64"])):
        folder = gap.folder / f"layout{len(options)}"
        words = [
            skopeo,
            "copy",
            *options,
            "--src-tls-verify=false",
            f"docker://{registry.host}/acme/x:1",
            f"oci:{folder}:acme/x:1",
        ]
        subprocess.run(words, check=True, capture_output=True)
        path = gap.folder / "stack.yaml"
        path.write_text(manifest("acme/x:1", f"oci: {folder}"))
        answer = gap.online("pack", path, "--to", gap.folder / f"stick{len(options)}").json
        assert [image["digest"] for image in answer["images"]] == [str(digest.descriptor.digest)]
        assert answer["images"][0]["left_out"] == left


@row(
    Kind.PLATFORMS,
    "Docker 20.10 and 28, docker pull",
    "takes an image that is not in an index whatever its platform is, with a warning",
    "moby/moby#42325",
    "by default it is carried with a note; `platforms:` that name another one fail",
)
def test_as_docker_pull_takes_an_image_for_another_platform(
    gap: Gap, registry: RealRegistry, engine: Engine
) -> None:
    push(registry, {"acme/arm:1": ARM})
    name = f"{registry.host}/acme/arm:1"
    engine.docker("pull", name)
    path = gap.folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\nimages: ['{name}']\n")
    [image] = gap.online("plan", path).json["images"]
    assert image["platforms"] == ["linux/arm64"]
    assert "the only image is for linux/arm64" in image["notes"][0]
    err = refusal(gap, manifest(name, "source: registry", "linux/amd64"))
    assert f"the image is for another platform: {name}, want linux/amd64, got linux/arm64" in err


@row(
    Kind.PLATFORMS,
    "Docker 20.10 and 28, docker pull",
    "takes of an index the platform of the machine, and fails where there is none",
    "moby/moby#48414",
    "the default is the same platform, and its absence the same error",
)
def test_the_default_is_what_docker_pull_takes(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    whole = make_index([ARM, AMD, attestation(AMD)])
    push(registry, {"acme/x:1": whole, "acme/arm:1": make_index([ARM])})
    name = f"{registry.host}/acme/x:1"
    engine.docker("pull", name)
    pulled = json.loads(engine.docker("image", "inspect", name).stdout)[0]["Architecture"]
    path = gap.folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\nimages: ['{name}']\n")
    [image] = gap.online("plan", path).json["images"]
    assert (image["platforms"], image["left_out"]) == (
        [f"linux/{pulled}", "unknown/unknown"],
        ["linux/arm64"],
    )
    with pytest.raises(AssertionError, match="no matching manifest"):
        engine.docker("pull", f"{registry.host}/acme/arm:1")
    assert "want linux/amd64 (the default" in refusal(
        gap, manifest(f"{registry.host}/acme/arm:1", "source: registry")
    )


@row(
    Kind.PLATFORMS,
    "skopeo 1.9",
    "asks the addresses of foreign layers, and fails with them, though the layer is in the layout that it reads",
    "measured",
    "such images are carried, and loaded into layouts, archives and registries with --allow-urls only",
)
def test_skopeo_asks_the_addresses_of_foreign_layers(gap: Gap) -> None:
    skopeo = require_tool("skopeo")
    address = "https://127.0.0.1:9/base"
    write_layout(gap.folder / "layout", {"example.com/win:1": foreign_image(docker=False, urls=[address])})
    bundle = gap.pack(manifest("example.com/win:1", "oci: layout", "windows/amd64"))
    words = [
        skopeo,
        "copy",
        "--override-os=windows",
        f"oci:{bundle}:example.com/win:1",
        f"dir:{gap.folder / 'dir'}",
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert address in done.stderr
    err = gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'out'}", code=16).err
    assert f"got {address}" in err
