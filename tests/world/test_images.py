"""Images that are odd inside, and engines that have odd ones."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.ports import Target
from airgap.errors import EndpointError
from airgap.oci.digest import Digest
from airgap.offline.load import load
from airgap.offline.loader import Loading
from airgap.progress import Silent
from tests.support.bundles import make_gap
from tests.support.daemon import Daemon
from tests.support.images import Image, Layer, make_image, make_index
from tests.support.memory import MemoryContent, MemoryEngine
from tests.support.odd import BASE, EMPTY, FIRST, SECOND, artifact, changed, index_of, odd_images
from tests.world.table import Kind, Row, replays, row

ODD = odd_images()
PODMAN = {"keeps_index": True, "config_ids": True, "one_platform": True}
CLASSIC: dict[str, Any] = {}
CONTAINERD_STORE = {"keeps_index": True}


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Loaded:
    """What came of a load: verdicts, and all that was said, by name."""

    verdicts: dict[str, str]
    said: str


def bring(folder: Path, target: Target, **images: Image) -> Loaded:
    gap, notes = (
        make_gap(folder, images={f"registry.test/{name}:1": each for name, each in images.items()}),
        Notes(),
    )
    with Folder(gap.bundle) as bundle:
        results = load(target, Loading(verify(bundle, gap.receiver()), notes, jobs=1))
    said = [*notes.notes, *(str(r.error or r.reason or "") for r in results)]
    return Loaded({r.image.name.repository: str(r.verdict) for r in results}, "\n".join(said))


def typed(*layers: Layer, media_type: str) -> Image:
    """An image whose layers are called something else."""
    return changed(layers, manifest=lambda m: [layer.update(mediaType=media_type) for layer in m["layers"]])


@dataclass(frozen=True)
class Case:
    """An image into an engine, onto a base."""

    image: Image
    engine: dict[str, Any]
    verdict: str
    words: str = ""
    base: Image | None = None


def images(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.IMAGES, who, does, reported, answer)


WASM_CONFIG = b'{"architecture":"wasm","os":"wasip1","layerDigests":[]}'
WASM_TYPE = "application/vnd.wasm.config.v0+json"
ZSTD = Layer.of({"z": b"z" * 500}, "zstd")


@replays(
    {
        "32 bytes": (
            images(
                "BuildKit", "writes a layer of 32 bytes, always the same, for a WORKDIR without changes",
                "docker/buildx#1910", "sends it again for the place that a classic engine lacks",
            ),
            Case(make_image([BASE, EMPTY, FIRST, EMPTY]), CLASSIC, "loaded", base=make_image([BASE, EMPTY])),
        ),
        "two in a row": (
            images(
                "BuildKit", "writes two empty layers in a row",
                "moby/buildkit#2973", "treats a layer as present only if the engine has it at all its places",
            ),
            Case(make_image([BASE, EMPTY, EMPTY]), CLASSIC, "loaded", base=make_image([BASE, EMPTY])),
        ),
        "nested": (
            images(
                "gitlab-runner images", "are an index in an index, on which podman fails",
                "podman-container-tools/podman#25045",
                "gives podman the image that it would run under the name, and reports that the digest differs",
            ),
            Case(ODD["index in an index"], PODMAN, "loaded", "does not accept an index inside an index"),
        ),
        "windows": (
            images(
                "Docker on Linux, classic store", "loads no image whose config names another system",
                "moby/moby#33647", "refuses that image by name before anything is sent; the others are loaded",
            ),
            Case(ODD["Windows"], CLASSIC, "failed", "takes images for linux only"),
        ),
        "wasm, classic": (
            images(
                "Docker, classic store", "says that the operating system of a wasi/wasm image is not supported",
                "deislabs/containerd-wasm-shims#87", "refuses it by name, and names the stores that take it",
            ),
            Case(ODD["WebAssembly"], CLASSIC, "failed", "got wasi/wasm"),
        ),
        "wasm, containerd store": (
            images(
                "Docker, containerd store", "takes wasi/wasm images",
                "spinframework/containerd-shim-spin#9", "loads it, and reports that it needs a WebAssembly runtime",
            ),
            Case(ODD["WebAssembly"], CONTAINERD_STORE, "loaded", "needs a WebAssembly runtime"),
        ),
        "linux/wasm": (
            images(
                "buildx --platform linux/wasm", "makes images for an architecture that only a shim runs",
                "containerd/runwasi#722", "loads it, and reports that it needs a WebAssembly runtime",
            ),
            Case(make_image([FIRST], "linux/wasm"), CLASSIC, "loaded", "needs a WebAssembly runtime"),
        ),
        "wasm layers": (
            images(
                "Spin", "has layers of application/vnd.wasm.content.layer.v1+wasm under the config of an image",
                "containerd/runwasi#1101", "carries it as an artifact, which engines do not get, and reports it",
            ),
            Case(typed(FIRST, media_type="application/vnd.wasm.content.layer.v1+wasm"), CLASSIC, "skipped", "an artifact"),
        ),
        "wasm artifact": (
            images(
                "Wasm OCI artifacts", "have a config of their own type and modules as layers",
                "containerd/containerd#10179", "carries it as an artifact, which engines do not get, and reports it",
            ),
            Case(artifact(WASM_CONFIG, WASM_TYPE, [(b"\\0asm", "application/wasm")]), CONTAINERD_STORE, "skipped", "an artifact"),
        ),
        "empty platform": (
            images(
                "grafana/alloy 1.12", "has neither os nor architecture in its config",
                "grafana/alloy#5378", "loads it, and does not mention emulation",
            ),
            Case(ODD["no platform"], CLASSIC, "loaded"),
        ),
        "zstd, 20.10": (
            images(
                "Docker 20.10", "fails on layers in zstd with `invalid tar header`",
                "stalwartlabs/stalwart#1192", "unpacks them on their way there",
            ),
            Case(make_image([BASE, ZSTD]), {"zstd_layers": False}, "loaded"),
        ),
        "zstd in Docker's types": (
            images(
                "BuildKit compression=zstd without OCI types", "calls layers vnd.docker.image.rootfs.diff.tar.zstd",
                "containerd/containerd#9859", "takes them for layers in zstd, and unpacks them where needed",
            ),
            Case(
                typed(ZSTD, media_type="application/vnd.docker.image.rootfs.diff.tar.zstd"),
                {"zstd_layers": False}, "loaded",
            ),
        ),
        "Docker layers in an OCI manifest": (
            images(
                "ko, crane 0.14", "put layers of Docker's types into an OCI manifest",
                "google/go-containerregistry#1606", "carries and loads it as it is",
            ),
            Case(typed(BASE, media_type="application/vnd.docker.image.rootfs.diff.tar.gzip"), CLASSIC, "loaded"),
        ),
        "one architecture twice": (
            images(
                "docker manifest create --amend", "leaves two entries for one platform in an index",
                "moby/moby#41507", "loads the first of them where an engine takes one platform",
            ),
            Case(make_index([make_image([BASE]), make_image([FIRST])]), CLASSIC, "loaded"),
        ),
    }
)  # fmt: skip
def test_into_an_engine(tmp_path, case):
    target = MemoryEngine(**case.engine)
    if case.base is not None:
        assert bring(tmp_path / "base", target, base=case.base).verdicts == {"base": "loaded"}
    found = bring(tmp_path / "app", target, app=case.image, plain=make_image([SECOND]))
    assert found.verdicts == {"app": case.verdict, "plain": "loaded"}
    assert case.words in found.said
    assert case.words or "is for" not in found.said


@row(
    Kind.IMAGES, "Docker with overlay2", "takes no image of more than 125 layers or so: `max depth exceeded`",
    "docker/for-linux#414", "reports the engine's own message for that image, and loads the others",
)  # fmt: skip
def test_what_an_engine_refuses_fails_alone(tmp_path):
    class Shallow(MemoryEngine):
        def load(self, tar: Iterable[bytes]) -> None:
            raw = b"".join(tar)
            if raw.count(b"blobs/") > 100:
                raise EndpointError("load failed", subject=self.name, got="max depth exceeded")
            super().load([raw])

    found = bring(tmp_path, Shallow(), deep=ODD["120 layers"], plain=ODD["plain"])
    assert found.verdicts == {"deep": "failed", "plain": "loaded"}
    assert "max depth exceeded" in found.said


@row(
    Kind.IMAGES, "podman", "takes no OCI archive in which one image has two names",
    "podman-container-tools/podman#4646", "sends each name in a separate stream",
)  # fmt: skip
def test_two_names_of_one_image(tmp_path):
    podman = MemoryEngine(**PODMAN)
    assert set(bring(tmp_path, podman, one=ODD["plain"], two=ODD["plain"]).verdicts.values()) == {"loaded"}
    assert set(podman.names) == {"registry.test/one:1", "registry.test/two:1"}
    assert len(podman.members) == 2


@row(
    Kind.IMAGES, "BuildKit", "puts attestations beside images, for the platform unknown/unknown",
    "distribution/distribution#4433", "carries them with the image, and does not treat them as runnable",
)  # fmt: skip
def test_attestations(tmp_path):
    said = artifact(b'{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}',
                    "application/vnd.oci.image.config.v1+json", [(b"{}", "application/vnd.in-toto+json")])  # fmt: skip
    entry = said.descriptor.to_json() | {"platform": {"os": "unknown", "architecture": "unknown"}}
    image = index_of([ODD["plain"].descriptor.to_json(), entry], ODD["plain"], said)
    content = MemoryContent()
    assert bring(tmp_path, content, app=image).verdicts == {"app": "loaded"}
    assert said.descriptor.digest in content.contents
    engine = MemoryEngine()
    assert bring(tmp_path / "engine", engine, app=image).verdicts == {"app": "loaded"}


@row(
    Kind.IMAGES, "containerd and BuildKit", "write a platform beside a lone image in index.json, and another into its config",
    "inferred", "goes by the config, as every engine does; the bundle verifies",
)  # fmt: skip
@pytest.mark.parametrize("line", ["`os` empty", "another platform in the config"])
def test_a_platform_beside_a_lone_image(tmp_path, line):
    image = ODD[line]
    lone = replace(
        image, descriptor=replace(image.descriptor, platform=ODD["linux/arm/v7"].descriptor.platform)
    )
    assert bring(tmp_path, MemoryContent(), app=lone).verdicts == {"app": "loaded"}


@row(
    Kind.IMAGES, "Go programs", "write null for no layers",
    "measured", "treats that as empty; null instead of an index's manifests is still refused",
)  # fmt: skip
def test_null_layers(tmp_path):
    content = MemoryContent()
    assert bring(tmp_path, content, app=ODD["`layers: null`"]).verdicts == {"app": "loaded"}
    assert content.contents[ODD["`layers: null`"].descriptor.digest] == ODD["`layers: null`"].raw


@row(
    Kind.IMAGES, "Images without rootfs", "have layers that the config does not mention; crane and skopeo copy them",
    "measured", "carries them for registries and layouts; engines do not get them, and that is reported",
)  # fmt: skip
def test_a_config_without_rootfs(tmp_path):
    image = changed([BASE], config=lambda config: config.pop("rootfs"))
    assert bring(tmp_path / "a", MemoryContent(), app=image).verdicts == {"app": "loaded"}
    assert bring(tmp_path / "b", MemoryEngine(), app=image).verdicts == {"app": "skipped"}


@row(
    Kind.IMAGES, "Registries and layouts", "have an index of which one platform came before and another comes now",
    "inferred", "loads what is missing, instead of reporting `already there`",
)  # fmt: skip
def test_an_index_that_came_with_fewer_platforms(tmp_path):
    amd64, arm64 = make_image([BASE]), make_image([FIRST], "linux/arm64")
    both = make_index([amd64, arm64])
    content = MemoryContent(names={"registry.test/app:1": both.descriptor.digest})
    content.contents = {both.descriptor.digest: both.raw, **amd64.contents}
    assert bring(tmp_path, content, app=both).verdicts == {"app": "loaded"}
    assert both.contents.items() <= content.contents.items()
    assert bring(tmp_path / "again", content, app=both).verdicts == {"app": "already there"}


@row(
    Kind.IMAGES, "Docker 28.5, containerd store", "shows an image as there when one platform of two is",
    "measured", "asks for each platform, and loads the image again",
)  # fmt: skip
def test_one_platform_of_two_in_an_engine(tmp_path):
    amd64, arm64 = make_image([BASE]), make_image([FIRST], "linux/arm64")
    both = make_index([amd64, arm64])

    class Partial(MemoryEngine):
        def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
            there = {amd64.descriptor.digest, *([arm64.descriptor.digest] if self.members else [])}
            return super().find_id(image_id) and there.issuperset(manifests)

    engine = Partial(keeps_index=True, names={"registry.test/app:1": both.descriptor.digest})
    engine.images = {both.descriptor.digest}
    assert bring(tmp_path, engine, app=both).verdicts == {"app": "loaded"}
    assert bring(tmp_path / "again", engine, app=both).verdicts == {"app": "already there"}


@row(
    Kind.IMAGES, "Docker, classic store", "loses layers that are removed while images are loaded",
    "inferred", "sends again with the layers that were removed",
)  # fmt: skip
def test_layers_that_are_removed_meanwhile(tmp_path):
    class Pruned(MemoryEngine):
        pruned = False

        def load(self, tar: Iterable[bytes]) -> None:
            raw = list(tar)
            if len(self.members) == 1 and not self.pruned:
                self.pruned, self.chains = True, set()
            super().load(raw)

    engine = Pruned()
    bring(tmp_path / "base", engine, base=make_image([BASE]))
    assert bring(tmp_path / "app", engine, app=make_image([BASE, FIRST])).verdicts == {"app": "loaded"}


ROOTFS = {"Type": "layers", "Layers": [str(BASE.diff_id)]}
OTHER = Digest.of(b"another image")


@replays(
    {
        "config over 4 MiB": (
            images(
                "Docker, classic store", "has an unrelated image with labels of several MiB, and shows them all",
                "inferred", "treats that image as absent; other loads continue",
            ),
            lambda daemon: daemon.images.update({str(OTHER): {"Id": str(OTHER), "Config": {"Labels": {"x": "y" * (5 << 20)}}}}),
        ),
        "cannot be shown": (
            images(
                "Docker, classic store", "answers 500 for an image whose removal was broken off: `layer does not exist`",
                "moby/moby#21215 (of the list)", "treats that image as absent; other loads continue",
            ),
            lambda daemon: daemon.failures.update({f"/images/{OTHER}": (500, "layer does not exist")}),
        ),
        "removed meanwhile": (
            images(
                "Docker, classic store", "answers 404 for an image that it has just listed",
                "inferred", "treats that image as absent; other loads continue",
            ),
            lambda daemon: daemon.failures.update({f"/images/{OTHER}": (404, "No such image")}),
        ),
    }
)  # fmt: skip
def test_one_image_blocks_no_load(tmp_path, case: Callable[[Daemon], None]):
    with Daemon(tmp_path) as daemon:
        image = Digest.of(b"an image")
        daemon.images |= {str(image): {"Id": str(image), "RootFS": ROOTFS}, str(OTHER): {"Id": str(OTHER)}}
        case(daemon)
        assert DockerEngine(daemon.endpoint, timeout=20).layer_chains() == {BASE.diff_id}


@row(
    Kind.IMAGES, "Docker engines on build hosts", "have more than a thousand images",
    "docker/for-linux#414", "inspects several at a time, and only if content is to be sent",
)  # fmt: skip
def test_an_engine_with_many_images(tmp_path):
    engine = MemoryEngine()
    bring(tmp_path / "first", engine, app=ODD["plain"])

    class Silent(MemoryEngine):
        def layer_chains(self) -> frozenset[Digest]:
            raise AssertionError

    again = Silent(names=engine.names, images=engine.images)
    assert bring(tmp_path / "again", again, app=ODD["plain"]).verdicts == {"app": "already there"}


@row(
    Kind.IMAGES,
    "Docker, classic store",
    "lists no images, `layer does not exist`, while others are removed or after that was broken off",
    "moby/moby#31350",
    "sends all layers, and reports why; a delta is refused with the engine's message",
)
def test_an_engine_that_cannot_list_its_images(tmp_path):
    class Broken(MemoryEngine):
        def layer_chains(self) -> frozenset[Digest]:
            raise EndpointError("cannot list images", subject=self.name, got="layer does not exist")

    found = bring(tmp_path, Broken(), app=ODD["plain"])
    assert found.verdicts == {"app": "loaded"}
    assert "all layers are sent" in found.said
    assert "layer does not exist" in found.said
