import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v7", "linux/arm"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm"),
        ("linux/i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_usual_spelling(text, usual):
    assert str(Platform.parse(text)) == usual


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "linux/",
        "/amd64",
        "linux/amd64/",
        "linux/amd64/v1/x",
        "Linux/amd64",
        "linux amd64",
        "linux/../x",
        None,
    ],
)
def test_not_a_platform(text):
    with pytest.raises(FormatError, match="not a platform: here, want os/architecture"):
        Platform.parse(text, "here")


@given(st.text("linuxarmd648v7/._-A ", max_size=20))
def test_parsing_is_settled_after_once(text):
    try:
        found = Platform.parse(text)
    except FormatError:
        return
    assert Platform.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "met_by"),
    [
        ("linux/amd64", ["linux/amd64"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]),
        ("linux/arm64", ["linux/arm64"]),
        ("linux/arm64/v9", ["linux/arm64/v9", "linux/arm64"]),
        ("linux/arm/v7", ["linux/arm", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/s390x", ["linux/s390x"]),
        ("windows/amd64", ["windows/amd64"]),
    ],
)
def test_older_variants_meet_it(text, met_by):
    assert list(map(str, Platform.parse(text).met_by())) == met_by


@pytest.mark.parametrize(
    ("text", "pulled"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/ppc64le", ["linux/ppc64le"]),
    ],
)
def test_what_docker_pull_takes(text, pulled):
    assert list(map(str, Platform.parse(text).pulled_as())) == pulled


def test_variants_without_their_letter():
    assert Platform.parse("linux/arm/7") == Platform.parse("linux/arm/v7")
    assert Platform.of("linux", "arm64", "8").normal() == Platform.parse("linux/arm64")
    assert Platform.of("linux", "arm64", "8.2").normal() == Platform.parse("linux/arm64/v8.2")
    assert Platform.of("linux", "s390x", "14").normal().variant == "14"
