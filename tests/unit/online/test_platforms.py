"""Which platforms of an image are carried: one rule for every source."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from airgap.errors import FormatError, NotFoundError
from airgap.manifest import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.platform import UNKNOWN, Platform
from airgap.oci.reference import ImageReference
from airgap.online.platforms import ATTESTED, Chosen, choose_platforms, default_platform
from tests.support.images import Image, Layer, make_image, make_index, simple_image

NAME = ImageReference.parse("example.com/app:1")


def image(platform: str, name: str = "") -> Image:
    return simple_image(name or platform.replace("/", "-"), size=50, platform=platform)


def stated(found: Image, **platform: str) -> Image:
    """`found` with the platform that its index states."""
    where = (
        Platform(platform["os"], platform["architecture"], platform.get("variant", "")) if platform else None
    )
    return replace(found, descriptor=replace(found.descriptor, platform=where))


def attestation(about: Image, name: str = "attests") -> Image:
    found = simple_image(name, size=20)
    notes = {ATTESTED: str(about.descriptor.digest)}
    return replace(found, descriptor=replace(found.descriptor, platform=UNKNOWN, annotations=notes))


def pick(root: Image, *wanted: str, by_default: bool = False, without: set[Digest] | None = None) -> Chosen:
    locked = LockedImage(
        reference=NAME, name=NAME, source="registry", path=None, platforms=tuple(map(Platform.parse, wanted)), descriptor=root.descriptor, image_id=None,
        by_default=by_default,
    )  # fmt: skip
    has: Callable[[Descriptor], bool] | None = None
    if without is not None:
        has = lambda blob: blob.digest not in without  # noqa: E731
    return choose_platforms(locked, root.descriptor, lambda blob: root.contents[blob.digest], has)


def kept(root: Image, chosen: Chosen) -> list[Digest]:
    return [d for d in root.contents if chosen.keep is not None and d in chosen.keep]


AMD, ARM64, V7, V6 = map(image, ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6"))
I386, WIN = image("linux/386"), image("windows/amd64")


@pytest.mark.parametrize(
    ("has", "wanted", "found"),
    [
        ([AMD, ARM64], "linux/amd64", AMD),
        ([AMD, ARM64], "linux/arm64", ARM64),
        ([AMD, stated(ARM64, os="linux", architecture="arm64", variant="v8")], "linux/arm64", ARM64),
        ([AMD, stated(ARM64, os="linux", architecture="arm64", variant="8")], "linux/arm64/v8", ARM64),
        ([V6, V7], "linux/arm/v7", V7),
        ([V6, V7], "linux/arm", V7),
        ([V6, V7], "linux/arm/v6", V6),
        ([AMD, V6], "linux/arm/v7", V6),
        ([AMD, WIN], "windows/amd64", WIN),
        ([AMD, stated(AMD, os="linux", architecture="amd64", variant="v3")], "linux/amd64", AMD),
    ],
)
@pytest.mark.parametrize("by_default", [True, False])
def test_the_best_match_is_carried(has, wanted, found, by_default):
    root = make_index(has)
    assert kept(root, pick(root, wanted, by_default=by_default)) == [found.descriptor.digest]


@pytest.mark.parametrize(
    ("has", "wanted", "found"),
    [([I386, V7], "linux/amd64", I386), ([V6, V7, AMD], "linux/arm64", V7)],
)
def test_a_machine_also_runs_what_docker_pull_takes_there_but_nobody_asked_for_that(has, wanted, found):
    root = make_index(has)
    chosen = pick(root, wanted, by_default=True)
    assert kept(root, chosen) == [found.descriptor.digest]
    assert f"there is no image for {wanted}" in chosen.notes[0]
    with pytest.raises(NotFoundError, match="no image for the platform"):
        pick(root, wanted)


def test_what_is_left_out_is_counted_once_a_platform():
    windows = [stated(image("windows/amd64", name), os="windows", architecture="amd64") for name in "ab"]
    root = make_index([AMD, ARM64, *windows, attestation(AMD), attestation(ARM64)])
    chosen = pick(root, "linux/amd64", by_default=True)
    assert [str(platform) for platform in chosen.left_out] == ["linux/arm64", "windows/amd64"]
    assert chosen.notes == ()
    assert len(kept(root, pick(root, "windows/amd64"))) == 2


def test_attestations_go_with_what_they_are_about():
    arm, amd = attestation(ARM64), attestation(AMD, "other")
    root = make_index([AMD, ARM64, arm, amd])
    assert set(kept(root, pick(root, "linux/arm64"))) == {ARM64.descriptor.digest, arm.descriptor.digest}
    assert pick(root).keep is None


@pytest.mark.parametrize("by_default", [True, False])
def test_an_entry_without_a_platform_has_its_configs(by_default):
    root = make_index([stated(AMD), stated(ARM64)])
    assert kept(root, pick(root, "linux/arm64", by_default=by_default)) == [ARM64.descriptor.digest]


def test_nothing_is_read_that_need_not_be():
    root = make_index([AMD, ARM64])
    read: list[Digest] = []
    locked = LockedImage(
        reference=NAME,
        name=NAME,
        source="registry",
        path=None,
        platforms=(Platform.parse("linux/amd64"),),
        descriptor=root.descriptor,
        image_id=None,
    )

    def reads(blob: Descriptor) -> bytes:
        read.append(blob.digest)
        return root.contents[blob.digest]

    choose_platforms(locked, root.descriptor, reads)
    assert read == [root.descriptor.digest]
    choose_platforms(replace(locked, platforms=()), root.descriptor, reads)
    assert len(read) == 1


@pytest.mark.parametrize("platform", [True, False])
def test_indexes_in_an_index_are_chosen_through(platform):
    inner = [make_index([AMD, attestation(AMD)]), make_index([ARM64, attestation(ARM64)])]
    if platform:
        inner = [
            stated(each, os="linux", architecture=name)
            for each, name in zip(inner, ("amd64", "arm64"), strict=True)
        ]
    root = make_index(inner)
    chosen = pick(root, "linux/arm64", by_default=True)
    wanted = {inner[1].descriptor.digest, ARM64.descriptor.digest, attestation(ARM64).descriptor.digest}
    assert set(kept(root, chosen)) == wanted
    assert [str(each) for each in chosen.left_out] == ["linux/amd64"]


def test_indexes_too_deep():
    with pytest.raises(FormatError, match="nested too deeply"):
        pick(make_index([make_index([make_index([AMD])])]), "linux/amd64")


@pytest.mark.parametrize(
    ("wanted", "by_default", "message", "hint"),
    [
        (["linux/s390x"], False, "no image for the platform: example.com/app:1, want linux/s390x, got linux/amd64, linux/arm64", "`platforms: [linux/amd64, linux/arm64]` on this image carries these"),
        (["linux/s390x"], True, "want linux/s390x (the default, as the manifest names no platforms), got", "carries these"),
        (["linux/amd64", "linux/s390x"], False, "want linux/s390x, got linux/amd64", "`platforms: [linux/amd64]` on this image carries it"),
        (["windows/amd64"], False, "want windows/amd64, got", ""),
    ],
)  # fmt: skip
def test_a_platform_that_is_not_there(wanted, by_default, message, hint):
    with pytest.raises(NotFoundError) as caught:
        pick(make_index([AMD, ARM64]), *wanted, by_default=by_default)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


class TestSingle:
    """Images that are not in an index."""

    def test_by_default_it_is_carried_and_that_is_said(self):
        chosen = pick(ARM64, "linux/amd64", by_default=True)
        assert chosen.notes == (
            "the only image is for linux/arm64 (the default is linux/amd64); it is carried",
        )
        assert pick(AMD, "linux/amd64", by_default=True).notes == ()

    @pytest.mark.parametrize("wanted", [["linux/amd64"], ["linux/amd64", "linux/arm64"]])
    def test_asked_for_by_name_it_must_fit(self, wanted):
        with pytest.raises(
            NotFoundError, match=r"another platform: example\.com/app:1, want linux/amd64, got linux/arm64"
        ):
            pick(ARM64, *wanted)

    def test_an_older_variant_fits(self):
        assert "linux/arm/v6, which usually runs there" in pick(V6, "linux/arm/v7").notes[0]

    @pytest.mark.parametrize("by_default", [True, False])
    def test_one_that_says_no_platform_is_carried(self, by_default):
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
        layerless = make_image([])
        manifest = json.loads(layerless.raw)
        manifest["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
        raw = json.dumps(manifest).encode()
        root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
        odd = Image(root, raw, {root.digest: raw, Digest.of(config): config})
        assert pick(odd, "linux/amd64", by_default=by_default).notes == (
            "the image does not name its platform",
        )
        index = make_index([stated(odd)])
        assert kept(index, pick(index, "linux/amd64", by_default=by_default)) == [root.digest]


class TestSparse:
    """Sources whose indexes name more than they hold."""

    ROOT = make_index([AMD, ARM64, V7])

    @pytest.mark.parametrize("lost", ["manifest", "layer", "config"])
    def test_what_is_not_whole_is_not_there(self, lost):
        gone = {"manifest": ARM64.descriptor.digest, "layer": ARM64.layers[0], "config": ARM64.config}[lost]
        chosen = pick(self.ROOT, "linux/amd64", without={gone})
        assert [str(platform) for platform in chosen.left_out] == ["linux/arm"]
        with pytest.raises(NotFoundError) as caught:
            pick(self.ROOT, "linux/arm64", without={gone})
        assert (
            "want linux/arm64, got linux/amd64, linux/arm; linux/arm64: in its index, but not at the source"
            in str(caught.value)
        )

    def test_all_is_all_that_is_there_and_the_rest_is_named(self):
        chosen = pick(self.ROOT, without={ARM64.descriptor.digest})
        assert kept(self.ROOT, chosen) == [AMD.descriptor.digest, V7.descriptor.digest]
        assert chosen.notes == ("linux/arm64: in its index, but not at the source; not carried",)

    @pytest.mark.parametrize("wanted", [[], ["linux/amd64"]])
    def test_nothing_is_there(self, wanted):
        gone = {each.descriptor.digest for each in (AMD, ARM64, V7)}
        with pytest.raises(NotFoundError, match="the source has no complete platform of the image: example"):
            pick(self.ROOT, *wanted, without=gone)

    def test_two_wanted_and_one_there(self):
        with pytest.raises(NotFoundError, match="want linux/arm64, got linux/amd64"):
            pick(self.ROOT, "linux/amd64", "linux/arm64", without={ARM64.descriptor.digest})


def test_an_empty_index():
    with pytest.raises(NotFoundError, match="the index has no images"):
        pick(make_index([]), "linux/amd64")
    with pytest.raises(NotFoundError, match="the index has no images"):
        pick(make_index([]), without=set())


def test_artifacts_in_an_index_go_along():
    raw = json.loads(AMD.raw)
    raw["config"]["mediaType"] = "application/vnd.example.chart"
    content = json.dumps(raw).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(content), len(content))
    chart = Image(root, content, {root.digest: content})
    mixed = make_index([AMD, ARM64, chart])
    assert set(kept(mixed, pick(mixed, "linux/amd64"))) == {AMD.descriptor.digest, root.digest}
    charts = make_index([chart])
    assert kept(charts, pick(charts, "linux/amd64")) == [root.digest]


def test_a_layer_in_an_index_is_refused():
    layer = Layer.of({"a": b"b"})
    entry = Descriptor(layer.media_type, Digest.of(layer.blob), len(layer.blob))
    with pytest.raises(FormatError, match="not an image manifest"):
        pick(make_index([Image(entry, layer.blob, {entry.digest: layer.blob})]), "linux/amd64")


def test_nothing_large_is_read():
    """A config that claims to be large, behind an entry without a platform."""
    manifest = json.loads(AMD.raw)
    manifest["config"]["size"] = 5 << 20
    raw = json.dumps(manifest).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    lying = Image(root, raw, {**AMD.contents, root.digest: raw})
    with pytest.raises(FormatError, match="too large"):
        pick(make_index([lying]), "linux/amd64")


def test_a_swapped_index_is_refused():
    root = make_index([AMD])
    locked = LockedImage(
        reference=NAME,
        name=NAME,
        source="registry",
        path=None,
        platforms=(Platform.parse("linux/amd64"),),
        descriptor=root.descriptor,
        image_id=None,
    )
    with pytest.raises(Exception, match="wrong"):
        choose_platforms(locked, root.descriptor, lambda _: make_index([ARM64]).raw + b" ")


@pytest.mark.parametrize(
    ("name", "bits", "found"),
    [
        ("x86_64", 64, "linux/amd64"),
        ("AMD64", 64, "linux/amd64"),
        ("x86_64", 32, "linux/386"),
        ("i686", 32, "linux/386"),
        ("aarch64", 64, "linux/arm64"),
        ("arm64", 64, "linux/arm64"),
        ("aarch64", 32, "linux/arm"),
        ("armv7l", 32, "linux/arm"),
        ("armv6l", 32, "linux/arm/v6"),
        ("ppc64le", 64, "linux/ppc64le"),
        ("s390x", 64, "linux/s390x"),
        ("riscv64", 64, "linux/riscv64"),
        ("loongarch64", 64, "linux/loong64"),
    ],
)
def test_the_default_is_this_machines(name, bits, found):
    assert str(default_platform({}, name, bits)) == found


def test_the_default_that_docker_is_told():
    assert str(default_platform({"DOCKER_DEFAULT_PLATFORM": "linux/arm64/v8"}, "x86_64", 64)) == "linux/arm64"
    assert str(default_platform({"DOCKER_DEFAULT_PLATFORM": "amd64"}, "aarch64", 64)) == "linux/amd64"
    with pytest.raises(FormatError, match="not a platform: DOCKER_DEFAULT_PLATFORM"):
        default_platform({"DOCKER_DEFAULT_PLATFORM": "a/b/c/d"}, "x86_64", 64)
