"""Names that meet at a target, or are not there when a load ends: what is refused, and what is told."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle.contents import INDEX_FILE
from airgap.cli.main import main
from airgap.endpoints.archive import ArchiveFile
from airgap.endpoints.images_folder import ImagesFolder
from airgap.endpoints.layout import Layout
from airgap.oci.digest import Digest
from airgap.oci.referrers import fallback_tag
from airgap.site import now
from airgap.trust.envelope import Envelope
from tests.cli.refusals import at_home, check_refused
from tests.support.attachments import referrer
from tests.support.bundles import ONE, TWO, Gap, make_gap, small_images
from tests.support.daemon import Daemon
from tests.support.images import make_index, simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer, Request

IMAGES = {name: image for name, image in small_images().items() if name in (ONE, TWO)}
FIRST, SECOND = (image.descriptor.digest for image in IMAGES.values())
HEX = "a" * 64


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("sealed"), images=IMAGES, now=now())


@pytest.fixture
def gap(sealed: Gap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gap:
    return at_home(sealed, tmp_path, monkeypatch)


# -- names in a bundle whose signer lies

SIGNED = {
    "a digest of another image": ({ONE: f"{ONE}@{SECOND}"}, "the name has the digest of another image"),
    "a digest of another algorithm": (
        {ONE: f"{ONE}@sha512:{HEX}{HEX}"},
        "the name has the digest of another image",
    ),
    "a digest of another image, no tag": (
        {ONE: f"registry.test/one@{SECOND}"},
        "the name has the digest of another image",
    ),
    "the other's name with a digest": ({ONE: f"{TWO}@{FIRST}"}, "two images have the same name"),
    "both with digests": ({ONE: f"{TWO}@{FIRST}", TWO: f"{TWO}@{SECOND}"}, "two images have the same name"),
    "the other's name in capitals": (
        {ONE: TWO.replace("registry", "REGISTRY")},
        "two images have the same name",
    ),
    "the other's name with a port": (
        {ONE: TWO.replace("test/", "test:443/")},
        "two images have the same name",
    ),
    "a passing name": ({ONE: f"airgap.invalid/loading/4194305:{HEX}"}, "airgap.invalid is reserved"),
    "a passing name in capitals": ({ONE: "AIRGAP.INVALID:5000/x:1"}, "airgap.invalid is reserved"),
}


@pytest.mark.parametrize(("names", "error"), SIGNED.values(), ids=SIGNED)
def test_signed_names_are_refused(
    gap: Gap, capsys: pytest.CaptureFixture[str], names: dict[str, str], error: str
) -> None:
    gap.rename(names)
    check_refused(gap, capsys, 10, error)


@pytest.mark.parametrize("kind", ["oci", "archive", "k3s"])
def test_no_map_makes_them_meet(gap: Gap, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    gap.rename({ONE: f"a.test/x:1@{FIRST}", TWO: "b.test/x:1"})
    target = gap.folder / "out"
    maps = ("--map", "a.test=C.test", "--map", "b.test=c.test:443")
    assert main(["load", str(gap.bundle), "--to", f"{kind}:{target}", *maps]) == 2
    assert "two images would have the same name" in capsys.readouterr().err
    assert not target.exists()


def test_a_name_that_a_registry_has_for_the_list_of_referrers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be given to the list when what refers to the image comes (OCI distribution-spec 1.1,
    "Referrers Tag Schema").
    """
    app, other = simple_image("app"), simple_image("other")
    name = f"registry.test/app:{fallback_tag(app.descriptor.digest)}"
    images = {"registry.test/app:1": app, name: make_index([other]), "registry.test/app:sbom": referrer(app)}
    at_home(make_gap(tmp_path, images=images, now=now()), tmp_path, monkeypatch)
    words = ["load", str(next((tmp_path / "stick").iterdir())), "--to"]
    with FakeRegistry() as registry:
        assert main([*words, f"registry:{registry.host}"]) == 2
        assert registry.manifests == {}
        error = capsys.readouterr().err
        assert "two images would have the same name at the registry" in error
        assert f"got the list of what refers to {app.descriptor.digest} and {name}" in error
        elsewhere = f"registry.test/app={registry.host}/app"
        assert main([*words, f"oci:{tmp_path}/out", "--map", elsewhere]) == 0


# -- names that are gone, or mean something else, when the load ends


def load(gap: Gap, target: str, capsys: pytest.CaptureFixture[str], code: int = 3) -> list[dict[str, Any]]:
    """The images as the answer and as the receipt have them, which is the same."""
    capsys.readouterr()
    assert main(["load", str(gap.bundle), "--to", target, "--json", "--quiet"]) == code
    answer = json.loads(capsys.readouterr().out)
    receipt = json.loads(Envelope.parse(Path(answer["receipt"]).read_bytes(), "receipt").payload)
    signed = [(image["reference"], image["verdict"]) for image in receipt["predicate"]["images"]]
    assert signed == [(image["reference"], image["verdict"]) for image in answer["images"]]
    assert receipt["predicate"]["result"] == ("ok" if code == 0 else "partial")
    found: list[dict[str, Any]] = answer["images"]
    return found


def told(images: list[dict[str, Any]]) -> dict[str, str]:
    return {image["reference"]: image["verdict"] for image in images}


@contextlib.contextmanager
def registry_with(habit: Callable[[FakeRegistry, Request], Answer | None]) -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.habits.append(lambda request: habit(registry, request))
        yield registry


def second_tag(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith("/two/manifests/1")


def removes(registry: FakeRegistry, request: Request) -> None:
    """Another client deletes the first tag while the second image is pushed."""
    if second_tag(request):
        registry.manifests.pop(("one", "1"), None)


def moves(registry: FakeRegistry, request: Request) -> None:
    if second_tag(request):
        raw = IMAGES[TWO].raw
        registry.manifests["one", "1"] = (IMAGES[TWO].descriptor.media_type, raw)


def stores_nothing(_: FakeRegistry, request: Request) -> Answer | None:
    """The registry says that it has stored a tag, and has not."""
    return Answer(201) if request.method == "PUT" and request.path.endswith("/one/manifests/1") else None


@pytest.mark.parametrize(("habit", "after"), [(removes, None), (moves, str(SECOND)), (stores_nothing, None)])
def test_a_registry(gap: Gap, capsys: pytest.CaptureFixture[str], habit: Any, after: str | None) -> None:
    with registry_with(habit) as registry:
        images = load(gap, f"registry:{registry.host}", capsys)
    assert told(images) == {ONE: "failed", TWO: "loaded"}
    assert images[0]["after"] == after
    assert "the target does not have the image under its name" in images[0]["error"]


def test_a_registry_is_asked_once_for_each_name_that_was_loaded(
    gap: Gap, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeRegistry() as registry:
        for verdict in ("loaded", "already there"):
            registry.requests.clear()
            assert set(told(load(gap, f"registry:{registry.host}", capsys, 0)).values()) == {verdict}
            heads = [each.path for each in registry.requests if each.path.endswith("/manifests/1")]
            wanted = ["/v2/one/manifests/1", "/v2/two/manifests/1"] * (3 if verdict == "loaded" else 2)
            assert sorted(heads) == sorted(wanted), "before, the push, and after"


def at_the_end(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str, harm: Callable[[], object], last: int = 2
) -> None:
    """Do harm after the last call of a method: by default the second one."""
    method, calls = getattr(kind, name), []

    def wrapped(*args: Any) -> Any:
        found = method(*args)
        calls.append(name)
        if len(calls) == last:
            harm()
        return found

    monkeypatch.setattr(kind, name, wrapped)


def test_a_layout(gap: Gap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    index = gap.folder / "out" / INDEX_FILE

    def harm() -> None:
        value = json.loads(index.read_text())
        value["manifests"] = value["manifests"][1:]
        index.write_text(json.dumps(value))

    at_the_end(monkeypatch, Layout, "_name", harm, last=1)
    assert sorted(told(load(gap, f"oci:{index.parent}", capsys)).values()) == ["failed", "loaded"]


@pytest.mark.parametrize("kind", ["k3s", "rke2", "k0s"])
def test_a_folder(
    gap: Gap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = gap.folder / "out"

    def harm() -> None:
        next(folder.glob("*_one_*.tar")).unlink()

    at_the_end(monkeypatch, ImagesFolder, "put_archive", harm)
    assert told(load(gap, f"{kind}:{folder}", capsys)) == {ONE: "failed", TWO: "placed"}


def test_a_file(gap: Gap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = gap.folder / "all.tar", ArchiveFile.write

    def lost(self: ArchiveFile, tar: Any) -> None:
        write(self, tar)
        path.write_bytes(path.read_bytes()[:-4096])  # the tables come last

    monkeypatch.setattr(ArchiveFile, "write", lost)
    assert main(["load", str(gap.bundle), "--to", f"archive:{path}"]) == 19
    assert "not the whole tar" in capsys.readouterr().err
    monkeypatch.undo()


class Changing(dict[str, Any]):
    """What an engine says of its images; of one, after some answers, something else."""

    def __init__(self, name: str, answers: int, then: Any) -> None:
        self.left, self.name, self.then = answers, name, then

    def get(self, name: str, default: Any = None) -> Any:
        if name == self.name:
            self.left -= 1
            return self[name] if self.left >= 0 else self.then
        return super().get(name, default)


def shown(image_id: Digest | None) -> dict[str, Any]:
    return {"Id": str(image_id), "RootFS": {"Layers": []}, "Os": "linux", "Architecture": "amd64"}


@pytest.mark.parametrize(("then", "after"), [(None, None), (shown(SECOND), str(SECOND))])
def test_a_docker_socket(
    gap: Gap, capsys: pytest.CaptureFixture[str], tmp_path: Path, then: Any, after: str | None
) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.images = Changing(ONE, 1, then)
        for name, image in IMAGES.items():
            daemon.images[name] = daemon.images[str(image.config)] = shown(image.config)
        images = load(gap, daemon.endpoint, capsys)
    assert told(images) == {ONE: "failed", TWO: "already there"}
    assert images[0]["after"] == after
