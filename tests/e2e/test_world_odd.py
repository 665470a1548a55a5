"""Images that are odd inside, at every target, judged by the target's own tools.

Each target gets all of them in one bundle while it is empty, each under two names and with a version that has
one more layer; then an older version first, and the newer one as a delta.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.audit.receipt import PRESENT
from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.endpoints.archive import ArchiveFile
from airgap.endpoints.containerd import Containerd
from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.images_folder import ImagesFolder
from airgap.endpoints.layout import Layout
from airgap.endpoints.ports import Target
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.manifest import TransferManifest
from airgap.oci.digest import Digest
from airgap.offline.holdings import Holdings
from airgap.offline.load import load
from airgap.offline.loader import FAILED, LOADED, THERE, LoadedImage, Loading
from airgap.online.lock import resolve
from airgap.online.pack import pack
from airgap.online.plan import make_plan
from airgap.online.terms import PackOrder
from airgap.progress import Silent
from airgap.site import Site
from tests.e2e.airgap import environment
from tests.e2e.corpus import push
from tests.support.bundles import Gap, make_gap
from tests.support.containerds import RealContainerd, RealPodman
from tests.support.engines import Engine
from tests.support.images import Image, archive_of, make_image, make_index, write_layout
from tests.support.odd import BASE, SECOND, artifacts, odd_images, refused_images
from tests.support.registries import RealRegistry
from tests.support.sid import Sid
from tests.world.table import observed

Look = Callable[[], dict[str, str]]
"""What the target's own tools say that it has: names, and what they call the images."""

IN_EVERY_WAY = ("plain", "one layer twice", "one layer three times", "no layers", "index in an index", "zstd",
                "zstd:chunked", "eStargz", "not compressed", "Docker schema 2", "Windows", "linux/arm/v7")  # fmt: skip
"""Those of which the layers are odd, or their place: also twice in one bundle, on a base, and as a delta."""


def named(images: Mapping[str, Image], tag: str) -> dict[str, Image]:
    return {f"registry.test/odd/{line_slug(line)}:{tag}": image for line, image in images.items()}


def line_slug(line: str) -> str:
    return "-".join("".join(char if char.isalnum() else " " for char in line.lower()).split())


def some(images: Mapping[str, Image]) -> dict[str, Image]:
    return {line: images[line] for line in IN_EVERY_WAY}


OLD, NEW = odd_images() | artifacts(), odd_images(SECOND)
WHOLE = {**named(OLD, "1"), **named(some(OLD), "again"), **named(some(NEW), "2")}
FIRST, UPDATE = named(some(OLD), "1"), named(some(NEW), "1")


@dataclass(frozen=True)
class Bundles:
    gap: Gap
    whole: Path
    first: Path
    delta: Path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    gap = make_gap(tmp_path_factory.mktemp("odd"), images=WHOLE)
    first = pack_images(gap, FIRST, "first", frozenset())
    held = frozenset(digest for image in FIRST.values() for digest in image.contents)
    return Bundles(gap, gap.bundle, first, pack_images(gap, UPDATE, "delta", held))


def pack_images(gap: Gap, images: dict[str, Image], name: str, held: frozenset[Digest]) -> Path:
    layout = write_layout(gap.folder / name / "layout", images)
    text = f"version: 1\nname: edge\nplatforms: all\nimages:\n  - oci: {layout}\n"
    manifest = TransferManifest.parse(text.encode(), layout / "stack.yaml")

    def source(*_: object) -> Layout:
        return Layout(layout)

    plan = make_plan(resolve(manifest, source), source, held)
    order = PackOrder(to=gap.folder / name / "stick", signers=(gap.key,), now=gap.now)
    return pack(manifest, plan, Site(gap.folder / "online"), order, Silent()).path


def bring(bundles: Bundles, path: Path, target: Target, holdings: Holdings) -> dict[str, LoadedImage]:
    with Folder(path) as folder:
        loading = Loading(verify(folder, bundles.gap.receiver()), Silent(), holdings=holdings)
        return {str(result.image.name): result for result in load(target, loading)}


# -- the targets: each empty, and how to look at it


@contextlib.contextmanager
def docker(request: pytest.FixtureRequest, kind: str, _: str) -> Iterator[tuple[Target, Look]]:
    engine: Engine = request.getfixturevalue(f"session_{kind}")
    engine.reset()

    def look() -> dict[str, str]:
        lines = engine.docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        return dict(line.split() for line in lines.stdout.decode().splitlines())

    yield DockerEngine(f"docker:{engine.host}"), look


@contextlib.contextmanager
def containerd(request: pytest.FixtureRequest, kind: str, way: str) -> Iterator[tuple[Target, Look]]:
    engine: RealContainerd = request.getfixturevalue(f"session_{kind}")
    with environment(**engine.environment):
        yield Containerd(f"containerd:odd-{way}"), lambda: looked(engine, f"odd-{way}")


def looked(engine: RealContainerd, namespace: str) -> dict[str, str]:
    """The names whose content is all there; whether it is unpacked, ctr 2 does not say of no layers."""
    checked = engine.ctr(namespace, "images", "check").stdout.decode().splitlines()
    whole = {line.split()[0] for line in checked if " complete " in line}
    return {name: digest for name, digest in engine.names(namespace).items() if name in whole}


@contextlib.contextmanager
def podman(request: pytest.FixtureRequest, kind: str, way: str) -> Iterator[tuple[Target, Look]]:
    engine: RealPodman = request.getfixturevalue(f"session_{kind}")
    engine.reset()

    def look() -> dict[str, str]:
        """It knows an image by several digests: that of the index counts, if it is among them."""
        names = sorted(engine.names() - {"<none>:<none>"})
        known = dict(zip(names, json.loads(engine.podman("image", "inspect", *names).stdout), strict=True))
        found = {}
        for name, shown in known.items():
            digests = [Digest.parse(text.rpartition("@")[2]) for text in shown["RepoDigests"]]
            image = (UPDATE if way == "delta" else WHOLE)[name]
            own = [digest for digest in digests if digest in image.contents]
            found[name] = str(image.descriptor.digest if image.descriptor.digest in own else own[0])
        return found

    yield DockerEngine(f"podman:unix://{engine.socket}"), look


@contextlib.contextmanager
def images_folder(request: pytest.FixtureRequest, kind: str, way: str) -> Iterator[tuple[Target, Look]]:
    """Its archives are imported as k3s does it."""
    engine: RealContainerd = request.getfixturevalue("session_containerd2")
    folder = request.getfixturevalue("tmp_path") / f"{kind}-{way}"

    def look() -> dict[str, str]:
        for archive in folder.iterdir():
            engine.ctr(f"k3s-{way}", "images", "import", "--all-platforms", archive)
        return looked(engine, f"k3s-{way}")

    yield ImagesFolder(f"{kind}:{folder}"), look


@contextlib.contextmanager
def stored(request: pytest.FixtureRequest, kind: str, way: str) -> Iterator[tuple[Target, Look]]:
    """What is no engine: skopeo reads the manifest of each image that was sent."""
    folder: Path = request.getfixturevalue("tmp_path") / f"{kind}-{way}"
    sid: Sid = request.getfixturevalue("sid")
    names = list(WHOLE if way == "whole" else UPDATE)
    with contextlib.ExitStack() as stack:
        if kind == "registry":
            host = stack.enter_context(RealRegistry(folder)).host
            target: Target = Registry(host, options=RegistryOptions())
            places = [name.replace("registry.test", f"docker://{host}") for name in names]
        else:
            target = Layout(folder) if kind == "oci" else ArchiveFile(folder)
            prefix = "oci" if kind == "oci" else "oci-archive"
            places = [f"{prefix}:{folder}:{name}" for name in names]

        def look() -> dict[str, str]:
            lines = sid("sh", "-ec", _INSPECT, "sh", *places).stdout.decode().splitlines()
            return {name: f"sha256:{line.split()[0]}" for name, line in zip(names, lines, strict=True)}

        yield target, look


_INSPECT = """raw=$(mktemp)
for place; do skopeo inspect --raw --tls-verify=false "$place" > "$raw"; sha256sum < "$raw"; done
rm "$raw"
"""


Opened = contextlib.AbstractContextManager[tuple[Target, Look]]
TARGETS: dict[str, tuple[Callable[[pytest.FixtureRequest, str, str], Opened], str]] = {
    "docker 20.10": (docker, "docker20"),
    "docker 28.5": (docker, "docker28"),
    "docker 28.5, containerd store": (docker, "docker28c"),
    "containerd 1.6": (containerd, "containerd16"),
    "containerd 2": (containerd, "containerd2"),
    "podman 4": (podman, "podman4"),
    "podman 5": (podman, "podman5"),
    "registry 2.8": (stored, "registry"),
    "oci:": (stored, "oci"),
    "archive:": (stored, "archive"),
    "k3s:": (images_folder, "k3s"),
}


def configs_of(image: Image) -> set[str]:
    """What engines that know no manifests call the image."""
    documents = [json.loads(raw) for raw in image.contents.values() if raw.startswith(b"{")]
    return {document["config"]["digest"] for document in documents if "layers" in document}


def cell(result: LoadedImage, image: Image, seen: str | None) -> str:
    """What became of an image, after it was made sure that nothing is claimed that is not so."""
    if result.verdict not in PRESENT:
        assert seen is None, f"{result.image.name}: {result.verdict}, and there"
        return f"{result.verdict}: {result.error.what if result.error else result.reason}"
    assert seen is not None, f"{result.image.name}: {result.verdict}, and not there"
    if seen == str(image.descriptor.digest):
        return "same"
    if seen in configs_of(image):
        return "same image ID"
    assert result.reason, f"{result.image.name}: another digest, and no word of it"
    assert seen in result.reason
    return f"its manifest, {seen[7:19]}"


def columns(*without: str) -> list[Any]:
    """The targets as parameters; those of one engine run in one process, so that it starts once."""
    groups = {"k3s": "containerd2"}
    return [
        pytest.param(column, marks=pytest.mark.xdist_group(groups.get(kind, kind)))
        for column, (_, kind) in TARGETS.items()
        if column not in without
    ]


@pytest.mark.parametrize("column", columns())
def test_all_in_one_bundle_into_an_empty_target(
    bundles: Bundles, request: pytest.FixtureRequest, tmp_path: Path, column: str
) -> None:
    """Many of them under two names, and with one more layer besides."""
    opener, kind = TARGETS[column]
    with opener(request, kind, "whole") as (target, look):
        results = bring(bundles, bundles.whole, target, Holdings(tmp_path / "holdings"))
        seen = look()
    cells = {name: cell(results[name], image, seen.get(name)) for name, image in WHOLE.items()}
    for line, image in OLD.items():
        [name] = named({line: image}, "1")
        for tag in ("again", "2") if line in IN_EVERY_WAY else ():
            assert cells[name.replace(":1", f":{tag}")].split(",")[0] == cells[name].split(",")[0], line
        observed("targets", line, {"digest": str(image.descriptor.digest)[7:19], column: cells[name]})


@pytest.mark.parametrize("column", columns("archive:", "k3s:", "containerd 1.6", "podman 4"))
def test_a_base_and_a_delta_on_it(
    bundles: Bundles, request: pytest.FixtureRequest, tmp_path: Path, column: str
) -> None:
    opener, kind = TARGETS[column]
    holdings = Holdings(tmp_path / "holdings")
    with opener(request, kind, "delta") as (target, look):
        first = bring(bundles, bundles.first, target, holdings)
        results = bring(bundles, bundles.delta, target, holdings)
        seen = look()
    for name, image in UPDATE.items():
        if first[name].verdict == FAILED:
            assert results[name].verdict == FAILED
            continue
        assert cell(results[name], image, seen.get(name)).startswith(("same", "its manifest"))


@pytest.mark.parametrize("kind", ["docker20", "docker28"])
def test_an_unrelated_image_with_a_large_config(
    bundles: Bundles, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    large = refused_images()["config over 4 MiB"]
    with docker(request, kind, "") as (target, look):
        request.getfixturevalue(f"session_{kind}").docker(
            "load", input=archive_of({"registry.test/large:1": large})
        )
        results = bring(bundles, bundles.first, target, Holdings(tmp_path / "holdings"))
        assert {"registry.test/large:1", *FIRST} - set(look()) == {
            named({"Windows": large}, "1").popitem()[0]
        }
    assert [r.verdict for n, r in results.items() if "windows" not in n] == [LOADED] * (len(FIRST) - 1)


def test_one_platform_of_two_is_there(
    bundles: Bundles, request: pytest.FixtureRequest, tmp_path: Path, registry: RealRegistry
) -> None:
    name, image = (
        f"{registry.host}/odd:1",
        make_index([make_image([BASE]), make_image([SECOND], "linux/arm64")]),
    )
    push(registry, {"odd:1": image})
    path = pack_images(bundles.gap, {name: image}, "two", frozenset())
    with docker(request, "docker28c", "") as (target, look):
        engine: Engine = request.getfixturevalue("session_docker28c")
        engine.docker("pull", "--platform=linux/amd64", name)
        assert look() == {name: str(image.descriptor.digest)}
        for verdict in (LOADED, THERE):
            assert [r.verdict for r in bring(bundles, path, target, Holdings(tmp_path / "x")).values()] == [
                verdict
            ]
        engine.docker("create", "--platform=linux/arm64", name, "/x")
