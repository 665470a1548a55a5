import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.errors import UsageError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.load import load
from airgap.offline.loader import Loading
from airgap.offline.rename import Renaming, parse_renamings, renamed
from airgap.progress import Silent
from tests.support.bundles import MULTI, ONE, TWO, small_images
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile, MemoryRegistry, MemoryStaging

IMAGES = small_images()
DIGEST = Digest.of(b"x")

FITTING = [
    ("ghcr.io/acme=h.io/m", "ghcr.io/acme/api:1", "h.io/m/api:1"),
    ("ghcr.io/acme/api=h.io/m/q", "ghcr.io/acme/api:1", "h.io/m/q:1"),
    ("ghcr.io=h.io:5000", "ghcr.io/acme/api:1", "h.io:5000/acme/api:1"),
    ("ghcr.io=localhost/x", "ghcr.io/acme/api:1", "localhost/x/acme/api:1"),
    ("docker.io/library=h.io/m", "nginx:1.27", "h.io/m/nginx:1.27"),
    ("GHCR.io:0443/acme=h.io", "ghcr.io/acme/api:1", "h.io/api:1"),
    ("ghcr.io/acme=h.io", f"GHCR.io:443/acme/api:1@{DIGEST}", f"h.io/api:1@{DIGEST}"),
    ("r.io:05000=h.io", "R.io:5000/a/b:1", "h.io/a/b:1"),
    ("docker.io=h.io/m", "nginx:1.27", "h.io/m/library/nginx:1.27"),
    ("ghcr.io/acme=docker.io/acme", "ghcr.io/acme/api:1", "docker.io/acme/api:1"),
    ("ghcr.io=h.io", f"ghcr.io/a/b@{DIGEST}", f"h.io/a/b@{DIGEST}"),
    ("r.io:5000/a=h.io", f"r.io:5000/a/b:1@{DIGEST}", f"h.io/b:1@{DIGEST}"),
]


@pytest.mark.parametrize(("text", "name", "new"), FITTING)
def test_names_below_a_prefix(text: str, name: str, new: str):
    renaming, reference = Renaming.parse(text), ImageReference.parse(name)
    assert str(renaming) == text
    assert renaming.applies_to(reference)
    assert str(renaming.apply(reference)) == new


@pytest.mark.parametrize(
    "prefix", ["ghcr.io/acm", "ghcr.io/acme/ap", "ghcr.io/acme/api/x", "ghcr.i", "hcr.io", "quay.io"]
)
def test_names_elsewhere(prefix: str):
    assert not Renaming.parse(f"{prefix}=h.io" if "." in prefix else prefix).applies_to(
        ImageReference.parse("ghcr.io/acme/api:1")
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "=", "a", "ghcr.io", "ghcr.io=", "=h.io", "ghcr.io=h", "library=h.io", "ghcr.io/acme=mirror",
        "ghcr.io/=h.io", "ghcr.io=h.io/", "/ghcr.io=h.io", "ghcr.io//a=h.io", "ghcr.io=h.io/A", "ghcr.io:1:2=h.io",
        "ghcr.io/acme:1=h.io", "ghcr.io/acme=h.io/x:1", f"ghcr.io/acme@{DIGEST}=h.io", "https://ghcr.io=h.io",
        "index.docker.io=h.io", "ghcr.io=h.io=k.io", "ghcr.io=h.io/a b", "ghcr.io=h.io/\u00e9", " ghcr.io=h.io",
    ],
)  # fmt: skip
def test_no_mapping(text: str):
    with pytest.raises(UsageError, match="not a valid --map") as caught:
        Renaming.parse(text)
    assert str(caught.value.want).startswith("FROM=TO, each HOST[:PORT][/PATH] without a tag")


@given(st.text(alphabet="a.:/=@-_A\u00e9", max_size=20))
def test_any_text_is_a_mapping_or_refused(text: str):
    try:
        renaming = Renaming.parse(text)
    except UsageError:
        return
    assert str(renaming.apply(ImageReference.parse(f"{renaming.before}/x/y:1"))).endswith("/x/y:1")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ghcr.io/acme/api=h.io", "ghcr.io/acme/api:1"),
        ("docker.io/library/nginx=h.io:5000", "nginx:1"),
        (f"ghcr.io=h.io/{'x' * 200}", f"ghcr.io/{'y' * 200}:1"),
    ],
)
def test_what_would_be_no_name(text: str, name: str):
    with pytest.raises(UsageError, match="the name from --map is not an image name"):
        Renaming.parse(text).apply(ImageReference.parse(name))


def test_one_prefix_cannot_become_two():
    assert len(parse_renamings(["ghcr.io=h.io", "ghcr.io/a=h.io"])) == 2
    with pytest.raises(UsageError, match=r"two --map options have the same prefix: ghcr\.io"):
        parse_renamings(["ghcr.io=h.io", "ghcr.io=k.io"])
    with pytest.raises(UsageError, match=r"two --map options have the same prefix: GHCR\.io:443/a"):
        parse_renamings(["ghcr.io/a=h.io", "GHCR.io:443/a=k.io"])


def names(bundle, *texts: str, notes: list[str] | None = None) -> list[str]:
    found = renamed(bundle.images, parse_renamings(texts), (notes if notes is not None else []).append)
    return [str(image.name) for image in found]


def test_the_longest_prefix_counts_in_any_order(bundle):
    texts = ["registry.test=h.io", "registry.test/two=h.io/second", "registry.test/t=h.io/none"]
    wanted = {"h.io/one:1", "h.io/second:1", "h.io/multi:1"}
    assert set(names(bundle, *texts)) == set(names(bundle, *reversed(texts))) == wanted


def test_a_renaming_that_matches_no_image_is_noted(bundle):
    notes: list[str] = []
    assert set(names(bundle, "quay.io=h.io", notes=notes)) == {ONE, TWO, MULTI}
    assert notes == ["--map quay.io=h.io: no image of this bundle has such a name"]


def test_the_signed_record_stays(bundle):
    found = renamed(bundle.images, parse_renamings(["registry.test=h.io"]), lambda _: None)
    assert [image.record for image in found] == [image.record for image in bundle.images]
    assert {str(image.record.name) for image in found} == {ONE, TWO, MULTI}


@pytest.mark.parametrize(
    "text", ["registry.test/one=registry.test/two", "registry.test/multi=registry.test/one"]
)
@pytest.mark.parametrize("make", [MemoryContent, MemoryEngine, MemoryStaging, MemoryFile])
def test_two_images_at_one_name_are_refused_before_anything_changes(bundle, make, text: str):
    target, moved = make(), []
    loading = Loading(
        bundle, Silent(), renamings=parse_renamings([text]), before_names_move=lambda: moved.append(1)
    )
    with pytest.raises(UsageError, match=r"two images would have the same name: registry\.test/") as caught:
        load(target, loading)
    assert "and registry.test/" in caught.value.got
    assert (moved, getattr(target, "log", [])) == ([], [])
    assert not (target.raw if isinstance(target, MemoryFile) else target.names)


TWINS = {
    "a digest beside the tag": (f"a.example/one:1@{IMAGES[ONE].descriptor.digest}", "b.example/one:1"),
    "both with digests": (
        f"a.example/one:1@{IMAGES[ONE].descriptor.digest}",
        f"b.example/one:1@{IMAGES[TWO].descriptor.digest}",
    ),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("make", [MemoryContent, MemoryEngine, MemoryStaging, MemoryFile])
@pytest.mark.parametrize("after", ["c.example", "C.example"])
def test_no_mapping_makes_twins(gap, make, twins, after):
    """The signed names differ, and what is left of them at a target does not."""
    gap.rename(dict(zip((ONE, TWO), twins, strict=True)))
    texts = parse_renamings([f"a.example={after}", "b.example=c.example"])
    target, moved = make(), []
    with Folder(gap.bundle) as folder:
        loading = Loading(
            verify(folder, gap.receiver()),
            Silent(),
            renamings=texts,
            before_names_move=lambda: moved.append(1),
        )
        with pytest.raises(UsageError, match=r"two images would have the same name: [cC]\.example/one:1"):
            load(target, loading)
    assert (moved, getattr(target, "log", [])) == ([], [])
    assert not (target.raw if isinstance(target, MemoryFile) else target.names)


@pytest.mark.parametrize("make", [MemoryContent, MemoryEngine, MemoryStaging, MemoryFile])
@pytest.mark.parametrize("after", ["airgap.invalid/loading", "AIRGAP.INVALID:8080/x"])
def test_no_mapping_makes_a_passing_name(bundle, make, after):
    target = make()
    with pytest.raises(UsageError, match=r"airgap\.invalid is reserved for temporary names while airgap"):
        load(target, Loading(bundle, Silent(), renamings=parse_renamings([f"registry.test/one={after}"])))
    assert getattr(target, "log", []) == []
    assert not (target.raw if isinstance(target, MemoryFile) else target.names)


def test_two_may_change_places(bundle):
    texts = ["registry.test/one=registry.test/two", "registry.test/two=registry.test/one"]
    target = MemoryContent()
    load(target, Loading(bundle, Silent(), renamings=parse_renamings(texts)))
    assert target.names[ONE] == IMAGES[TWO].descriptor.digest
    assert target.names[TWO] == IMAGES[ONE].descriptor.digest


@pytest.mark.parametrize("make", [MemoryContent, MemoryEngine, MemoryStaging])
def test_every_target_has_the_new_names(bundle, make):
    target = make()
    results = load(target, Loading(bundle, Silent(), renamings=parse_renamings(["registry.test=h.io/m"])))
    assert set(target.names) == {str(result.image.name) for result in results}
    assert set(target.names) == {"h.io/m/one:1", "h.io/m/two:1", "h.io/m/multi:1"}
    again = load(target, Loading(bundle, Silent(), renamings=parse_renamings(["registry.test=h.io/m"])))
    assert {result.verdict for result in again} == {"already there"}


def test_in_a_registry_two_hosts_may_mean_one_place(bundle):
    texts = parse_renamings(["registry.test/one=a.example/x", "registry.test/two=b.example/x"])
    target = MemoryRegistry()
    with pytest.raises(
        UsageError, match="two images would have the same name at the registry: oci:memory: x:1"
    ) as caught:
        load(target, Loading(bundle, Silent(), renamings=texts))
    assert caught.value.got == "a.example/x:1 and b.example/x:1"
    assert target.names == {}
    load(MemoryContent(), Loading(bundle, Silent(), renamings=texts))
