"""Loading into real containerds, with their own ctr and skopeo as judges."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from airgap.endpoints.containerd import Containerd
from airgap.errors import EndpointError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.e2e.airgap import Gap, environment, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import corpus, push, size_of, version
from tests.support.containerds import RealContainerd
from tests.support.images import Image, archive_of, simple_image
from tests.support.registries import RealRegistry
from tests.support.waits import wait_until


@dataclass
class Place:
    """A namespace of its own, and what makes `--to` mean it."""

    containerd: RealContainerd
    namespace: str

    @property
    def target(self) -> str:
        return f"containerd:{self.namespace}"

    @property
    def names(self) -> dict[str, str]:
        return self.containerd.names(self.namespace)

    @property
    def whole(self) -> set[str]:
        return self.containerd.whole(self.namespace)

    def import_(self, name: str, image: Image, **options: object) -> None:
        raw = archive_of({name: image}, **options)
        self.containerd.ctr(self.namespace, "images", "import", "-", input=raw)


@pytest.fixture
def place(containerd: RealContainerd, request: pytest.FixtureRequest) -> Iterator[Place]:
    with environment(**containerd.environment):
        yield Place(containerd, f"t{abs(hash(request.node.nodeid))}")


def test_all_kinds_of_images(gap: Gap, registry: RealRegistry, place: Place, skopeo: Tool) -> None:
    images = corpus()
    push(registry, images)
    nameless = simple_image("nameless")
    push(registry, {"acme/nameless:gone": nameless})
    digest_name = f"{registry.host}/acme/nameless@{nameless.descriptor.digest}"
    names = {f"{registry.host}/{name}": str(image.descriptor.digest) for name, image in images.items()}
    names[digest_name] = str(nameless.descriptor.digest)
    bundle = gap.pack(manifest_of(*names, platforms="linux/amd64"))
    loaded = gap.offline("load", bundle, "--to", place.target).json["images"]
    assert [image["verdict"] for image in loaded] == ["loaded"] * len(names)
    assert place.names == names
    assert place.whole == set(names)
    again = gap.offline("load", bundle, "--to", place.target).json["images"]
    assert [image["verdict"] for image in again] == ["already there"] * len(names)
    one = f"{registry.host}/acme/one:1"
    exported = gap.folder / "one.tar"
    for _ in range(5):  # ctr 2 sometimes writes half a tar and exits with 0
        exported.unlink(missing_ok=True)
        place.containerd.ctr(place.namespace, "images", "export", exported, one)
        if b"index.json" in exported.read_bytes():
            break
    raw = skopeo("inspect", "--raw", f"oci-archive:{exported}").stdout
    assert Digest.of(raw) == images["acme/one:1"].descriptor.digest


def test_of_all_platforms_its_own_is_kept(gap: Gap, registry: RealRegistry, place: Place) -> None:
    image = corpus()["acme/multi:1"]
    push(registry, {"acme/multi:1": image})
    name = f"{registry.host}/acme/multi:1"
    bundle = gap.pack(manifest_of(name, platforms="linux/amd64, linux/arm64"))
    for verdict in ("loaded", "already there"):
        [loaded] = gap.offline("load", bundle, "--to", place.target).json["images"]
        assert loaded["verdict"] == verdict
    assert place.names == {name: str(image.descriptor.digest)}
    assert place.whole == {name}


def test_kubernetes_sees_them(gap: Gap, registry: RealRegistry, containerd: RealContainerd) -> None:
    """In its namespace, by the label that containerd's CRI plugin puts on images that it has taken in."""
    push(registry, {"acme/app:1": version(1)})
    name = f"{registry.host}/acme/app:1"
    with environment(**containerd.environment):
        value = gap.offline("load", gap.pack(manifest_of(name)), "--to", "containerd").json
    assert value["target"] == "containerd:k8s.io"
    wait_until(lambda: name in _managed(containerd), f"the label of containerd's CRI plugin on {name}")
    assert not [each for each in containerd.names("k8s.io") if each.startswith("airgap.invalid/")]


def _managed(containerd: RealContainerd) -> list[str]:
    label = 'labels."io.cri-containerd.image"==managed'
    return containerd.ctr("k8s.io", "images", "ls", "--quiet", label).stdout.decode().split()


def test_delta_and_a_base_that_is_gone(gap: Gap, registry: RealRegistry, place: Place) -> None:
    name = f"{registry.host}/acme/app:1"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", place.target)
    push(registry, {"acme/app:1": version(2)})
    delta = gap.pack(manifest_of(name), "--since", 1)
    assert size_of(delta) < 100_000
    elsewhere = Place(place.containerd, f"{place.namespace}b")
    refused = gap.offline("load", delta, "--to", elsewhere.target, code=19)
    assert "the base is not at the target" in refused.err
    assert elsewhere.names == {}
    [loaded] = gap.offline("load", delta, "--to", place.target).json["images"]
    old, new = (str(version(number).descriptor.digest) for number in (1, 2))
    assert (loaded["verdict"], loaded["before"], loaded["after"]) == ("loaded", old, new)
    assert place.names == {name: new}
    assert place.whole == {name}


def test_what_a_container_uses_is_not_pruned(gap: Gap, registry: RealRegistry, place: Place) -> None:
    names = [f"{registry.host}/acme/{which}:1" for which in ("app", "one", "two")]
    push(registry, {f"acme/{which}:1": simple_image(which) for which in ("app", "one", "two")})
    gap.offline("load", gap.pack(manifest_of(*names)), "--to", place.target)
    place.containerd.ctr(place.namespace, "containers", "create", names[1], "user", "/hello")
    value = gap.offline(
        "load", gap.pack(manifest_of(names[0])), "--to", place.target, "--prune", "--yes"
    ).json
    assert [name["reference"] for name in value["pruned"]] == names[2:]
    assert [kept["reference"] for kept in value["not_pruned"]] == names[1:2]
    assert set(place.names) == set(names[:2])


def test_old_names_stay_when_a_layer_is_wrong(gap: Gap, registry: RealRegistry, place: Place) -> None:
    names = [f"{registry.host}/acme/{which}:1" for which in ("app", "other")]
    push(registry, {"acme/app:1": version(1), "acme/other:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(*names)), "--to", place.target)
    before = place.names
    push(registry, {"acme/app:1": version(2), "acme/other:1": version(3)})
    bundle = gap.pack(manifest_of(*names))
    layer = bundle / version(2).layers[1].path
    layer.write_bytes(layer.read_bytes()[:-8] + b"\0" * 8)
    answer = gap.offline("load", bundle, "--to", place.target, code=3)
    app, _ = answer.json["images"]
    assert (app["verdict"], app["after"]) == ("failed", before[names[0]])
    assert place.names == {names[0]: before[names[0]], names[1]: str(version(3).descriptor.digest)}
    assert place.whole == set(names)


def test_a_failed_import_moves_no_name(place: Place) -> None:
    """The base is lost after it was looked for: 1.6 leaves the name of such an import behind."""
    name = ImageReference.parse("registry.test/acme/app:1")
    place.import_(str(name), simple_image("old"))
    before = place.names
    target = Containerd(place.target)
    new = version(2)
    stage = target.stage(new.descriptor.digest)
    raw = archive_of({str(stage): new}, leave_out={new.layers[0]})
    with pytest.raises(EndpointError, match="ctr images import failed"):
        target.load(iter([raw]))
    assert not target.find_id(new.descriptor.digest)
    assert str(target.find(name)) == before[str(name)]
    target.sweep()
    assert place.names == before


def test_what_a_killed_load_left_is_swept(gap: Gap, registry: RealRegistry, place: Place) -> None:
    push(registry, {"acme/app:1": version(1)})
    name = f"{registry.host}/acme/app:1"
    left = f"airgap.invalid/loading/4194305:{'0' * 64}"  # above any process's number
    place.import_(left, simple_image("left"))
    gap.offline("load", gap.pack(manifest_of(name)), "--to", place.target)
    assert list(place.names) == [name]


def test_a_name_is_put_back_to_what_has_no_name(place: Place) -> None:
    """The content of the old image is there as long as another name holds it."""
    name = ImageReference.parse("registry.test/acme/app:1")
    old, new = simple_image("old"), simple_image("new")
    for each, image in ((str(name), old), ("registry.test/keeps:1", old), (str(name), new)):
        place.import_(each, image)
    target = Containerd(place.target)
    assert target.find(name) == new.descriptor.digest
    target.tag(old.descriptor.digest, name)
    assert target.find(name) == old.descriptor.digest
    assert str(name) in place.whole
    target.untag(name)
    target.untag(name)
    assert target.find(name) is None


def test_a_load_that_is_cut(place: Place) -> None:
    target = Containerd(place.target)
    raw = io.BytesIO(archive_of({"registry.test/cut:1": version(1)}))

    def chunks() -> Iterator[bytes]:
        yield raw.read(1_000_000)
        raise EndpointError("cut")

    with pytest.raises(EndpointError, match=r"^cut$"):
        target.load(chunks())
    assert place.names == {}
