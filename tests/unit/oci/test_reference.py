import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference, normal_host

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("acme/api", "docker.io/acme/api:latest", "acme/api:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
        ("GHCR/x", "GHCR/x:latest", "GHCR/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("a.b/c/d/e:V_1.2-3", "a.b/c/d/e:V_1.2-3", "a.b/c/d/e:V_1.2-3"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"a.b/c:1@{DIGEST}", f"a.b/c:1@{DIGEST}", f"a.b/c:1@{DIGEST}"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"),
    ],
)
def test_as_docker_reads_it(text, full, familiar):
    found = ImageReference.parse(text)
    assert str(found) == full
    assert found.familiar == familiar
    assert ImageReference.parse(full) == found


BAD = {
    "": "empty",
    " nginx": "(repository name)",
    "Nginx": "lower-case",
    "acme/API": "lower-case",
    "nginx:": "tag",
    "nginx:-x": "tag",
    "nginx:a b": "tag",
    "nginx:" + "a" * 129: "tag",
    "nginx@": "not a digest",
    "nginx@sha256:abc": "not a digest",
    f"nginx@{DIGEST}@{DIGEST}": "not a digest",
    "a//b": "(repository name)",
    "/a": "(repository name)",
    "a/": "(repository name)",
    "../a": "registry host",
    "a.b/../c": "(repository name)",
    "a.b/c/": "(repository name)",
    "http://a.b/c": "registry host",
    "a_.b/c": "registry host",
    "a.b:port/c": "registry host",
    "a.b:123456/c": "registry host",
    "a..b/c": "registry host",
    "a__ _b": "(repository name)",
    "a\n": "(repository name)",
    "a:1\n": "tag",
    "ä/b": "(repository name)",
    "a.b/" + "c" * 255: "longer than 255",
}


@pytest.mark.parametrize(("text", "words"), BAD.items())
def test_refused(text, words):
    with pytest.raises(FormatError) as caught:
        ImageReference.parse(text, "here")
    assert words in str(caught.value)
    assert "here" in str(caught.value)


def test_the_longest_name():
    assert len(ImageReference.parse("a.b/" + "c" * 251).name) == 255
    with pytest.raises(FormatError, match="longer than 255"):
        ImageReference.parse("a.b/" + "c" * 252)


@pytest.mark.parametrize("value", [None, 7])
def test_no_text(value):
    with pytest.raises(FormatError, match="empty"):
        ImageReference.parse(value)


@settings(max_examples=120)
@given(st.text("ab.A:/@_-5[]" + "\n", max_size=25))
def test_parsing_is_settled_after_once(text):
    try:
        found = ImageReference.parse(text)
    except FormatError:
        return
    assert ImageReference.parse(str(found)) == found
    assert found.tag or found.digest
    assert ".." not in str(found).split("/")


SAME = {
    "Docker's short forms": ("nginx", "docker.io/library/nginx:latest", "index.docker.io/nginx"),
    "a digest beside the tag": ("a.b/c:1", f"a.b/c:1@{DIGEST}", f"a.b/c:1@sha512:{'0' * 128}"),
    "case of the host": ("ghcr.io/a/b:1", "GHCR.io/a/b:1", "Ghcr.Io/a/b:1"),
    "the port of HTTPS": ("a.b/c:1", "a.b:443/c:1", "A.B:00443/c:1"),
    "zeros before a port": ("a.b:5000/c:1", "a.b:05000/c:1"),
    "of an address": ("[fd00::1]:5000/c:1", "[FD00::1]:05000/c:1"),
    "without a tag": (f"a.b/c@{DIGEST}", f"A.b:443/c@{DIGEST}"),
}
OTHERS = ("a.b/c:1", "a.b/c:2", "a.b/C:1".lower() + "0", "a.b:5000/c:1", "a.b:80/c:1", "b.b/c:1", "a.b/c/c:1",
          "a.b/c:V", "a.b/c:v", f"a.b/c@{DIGEST}", f"a.b/c@sha512:{'0' * 128}", "[::1]/c:1", "[::2]/c:1")  # fmt: skip


@pytest.mark.parametrize("texts", SAME.values(), ids=SAME)
def test_one_normal_form_for_what_means_the_same(texts):
    first = ImageReference.parse(texts[0])
    assert {ImageReference.parse(text).normal for text in texts} == {first}
    assert first.normal is first


@pytest.mark.parametrize("host", ["443", "a.b", "[::0]", "[fd00::443]"])
def test_a_host_without_a_port_is_left_as_it_is(host):
    assert normal_host(host) == host


def test_names_that_differ_have_different_normal_forms():
    assert len({ImageReference.parse(text).normal for text in OTHERS}) == len(OTHERS)


@settings(max_examples=100)
@given(st.text("aA.:/0443@-[]" + "\n", max_size=20))
def test_a_normal_form_is_a_name_with_the_same_normal_form(text):
    try:
        found = ImageReference.parse(text)
    except FormatError:
        return
    assert found.normal.normal == found.normal
    assert found.normal.digest is None or found.normal.tag is None


def test_what_targets_keep_of_a_name():
    for text, kept in (("a.b/c:1", "a.b/c:1"), (f"a.b/c:1@{DIGEST}", "a.b/c:1"), (f"A.b/c@{DIGEST}",) * 2):
        assert str(ImageReference.parse(text).kept) == kept


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.b/c:1", ["a.b/c:1"]),
        (f"a.b/c@{DIGEST}", [f"a.b/c@{DIGEST}"]),
        (f"a.b/c:1@{DIGEST}", ["a.b/c:1", f"a.b/c@{DIGEST}"]),
        (f"a.b/c:1@sha256:{'b' * 64}", ["a.b/c:1"]),
    ],
)
def test_the_names_that_nodes_look_up(text, names):
    assert [str(name) for name in ImageReference.parse(text).names_of(Digest.parse(DIGEST))] == names


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("airgap.invalid/loading/1:a", True),
        ("AIRGAP.Invalid:80/x", True),
        ("airgap.invalid.example/x", False),
        ("docker.io/airgap.invalid/x", False),
        ("x.airgap.invalid/x", False),
    ],
)
def test_passing_names(text, passing):
    assert ImageReference.parse(text).is_passing is passing


def test_with_digest():
    found = ImageReference.parse("a.b/c:1")
    pinned = found.with_digest(Digest.parse(DIGEST))
    assert str(pinned) == f"a.b/c:1@{DIGEST}"
    assert pinned.with_digest(None) == found
    assert found.name == "a.b/c"
