"""What targets say that they have: all of it, once for each name, and only as far as it can be read."""

import json
from pathlib import Path

import pytest

from airgap.endpoints.ports import PresentImage
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.support.daemon import Daemon
from tests.support.images import simple_image
from tests.support.memory import MemoryEngine
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer
from tests.unit.endpoints.docker_support import engine
from tests.unit.endpoints.test_containerd import row, target

ID, OTHER = Digest.of(b"image"), Digest.of(b"other")


def shown(images: list[PresentImage]) -> list[tuple[str, bool, Digest | None]]:
    return [(image.shown, image.name is not None, image.digest) for image in images]


# -- engines


def listing(daemon: Daemon, images: object) -> None:
    raw = json.dumps(images).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw)
    daemon.lies["/images/json"] = lambda: [head + raw]


def test_an_engine_lists_every_name_and_what_has_none(tmp_path: Path):
    with Daemon(tmp_path) as daemon:
        images = [
            {"Id": str(ID), "RepoTags": ["nginx:1", "t/a:1"]},
            {"Id": str(OTHER), "RepoTags": ["<none>:<none>"]},
            {"Id": str(OTHER), "RepoTags": None},
            {"Id": str(ID), "RepoTags": ["Not A Name"]},
        ]
        listing(daemon, images)
        found = list(engine(daemon).present())
    assert shown(found) == [
        ("nginx:1", True, ID),
        ("t/a:1", True, ID),
        ("", False, OTHER),
        ("", False, OTHER),
        ("Not A Name", False, ID),
    ]
    assert found[0].name == ImageReference.parse("docker.io/library/nginx:1")


@pytest.mark.parametrize("images", [{}, [1], [{"Id": "x"}], [{"Id": str(ID), "RepoTags": "a"}], "x"])
def test_an_engine_that_answers_something_else(tmp_path: Path, images: object):
    with Daemon(tmp_path) as daemon:
        listing(daemon, images)
        with pytest.raises(EndpointError):
            list(engine(daemon).present())


def test_containerd_leaves_out_names_of_a_load_that_runs():
    ours = "airgap.invalid/loading/7:" + ID.hex
    table = "REF TYPE DIGEST\n" + row("t/a:1", ID) + row(ours, OTHER) + row(str(ID), OTHER)
    containerd, _ = target(images_ls=table)
    assert shown(list(containerd.present())) == [("t/a:1", True, ID), (str(ID), True, OTHER)]


def test_a_target_that_cannot_list_says_so():
    with pytest.raises(EndpointError, match="cannot list the images of this target: docker"):
        MemoryEngine().present()


# -- registries


def catalogue(fake: FakeRegistry, *pages: object) -> None:
    """Answer with these pages, one after the other."""
    left = list(pages)

    def answer(request: object) -> Answer | None:
        if "_catalog" not in str(getattr(request, "path", "")):
            return None
        page = left.pop(0)
        link = {"link": f'</v2/_catalog?n=1000&last={len(left)}>; rel="next"'} if left else {}
        return Answer(200, json.dumps(page).encode(), {"content-type": "application/json", **link})

    fake.habits.append(answer)


def registry(fake: FakeRegistry, prefix: str = "") -> Registry:
    return Registry(fake.host, options=RegistryOptions(prefix=prefix, sleep=lambda _: None))


def test_a_registry_lists_below_its_prefix():
    image = simple_image("api")
    with FakeRegistry() as fake:
        for repository in ("mirror/acme/api", "mirrored", "other"):
            fake.add(repository, "1", image)
        pages = ({"repositories": ["mirror/acme/api", "other"]}, {"repositories": ["mirrored", "mirror/Bad"]})
        catalogue(fake, *pages)
        found = shown(list(registry(fake, "mirror").present()))
    assert found == [("mirror/acme/api:1", True, image.descriptor.digest), ("mirror/Bad", False, None)]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"repositories": "a"}, "not a list of repositories"),
        ({"names": []}, "not a list of repositories"),
        ([], "not a list of repositories"),
        ({"repositories": ["a"] * 10_001}, "too many entries"),
    ],
)
def test_a_catalogue_that_is_none(page: object, words: str):
    with FakeRegistry() as fake:
        catalogue(fake, page)
        with pytest.raises(EndpointError, match=words):
            list(registry(fake).present())


def test_a_registry_that_goes_away_in_between_lists_nothing():
    with FakeRegistry() as fake:
        fake.add("a", "1", simple_image("api"))
        catalogue(fake, {"repositories": ["a"]})
        fake.habits.append(lambda request: Answer(503) if "tags" in request.path else None)
        with pytest.raises(UnavailableError):
            list(registry(fake).present())
