"""Platforms as people write them."""

from pathlib import Path

import pytest

from airgap.errors import FormatError
from airgap.manifest import TransferManifest
from airgap.manifest.platform_text import parse_platform, suggestion
from airgap.oci.platform import Platform


def platforms(text: str) -> list[str] | None:
    raw = f"version: 1\nname: a\nplatforms: {text}\nimages: [a]\n".encode()
    found = TransferManifest.parse(raw, Path("m.yaml")).images[0].platforms
    return None if found is None else [str(platform) for platform in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all", []),
        ("[all]", []),
        ("[]", []),
        ("linux/amd64", ["linux/amd64"]),
        ("[linux/amd64, linux/arm64/v8]", ["linux/amd64", "linux/arm64"]),
        ("windows/amd64", ["windows/amd64"]),
        ("linux/x86_64", ["linux/amd64"]),
    ],
)
def test_accepted(text, found):
    assert platforms(text) == found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("amd64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("arm64v8", "linux/arm64"),
        ("arm64/v8", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armhf", "linux/arm/v7"),
        ("linux-amd64", "linux/amd64"),
        ("linux_arm64", "linux/arm64"),
        ("linux:amd64", "linux/amd64"),
        ("linux amd64", "linux/amd64"),
        ("linux/armv7", "linux/arm/v7"),
        ("linux/arm32v7", "linux/arm/v7"),
        ("linux/amd64/", "linux/amd64"),
        ("LINUX/AMD64", "linux/amd64"),
        ("linux", "linux/amd64"),
        ("windows", "windows/amd64"),
        ("windows-x64", "windows/amd64"),
        ("macos/aarch64", "linux/arm64"),
        ("i686", "linux/386"),
        ("ppc64el", "linux/ppc64le"),
        ("any", "all"),
        ("multi", "all"),
        ("ALL", "all"),
    ],
)
def test_what_was_meant_is_said(text, meant):
    assert suggestion(text) == meant
    if text != "macos/aarch64":  # a platform, of programs for macOS
        with pytest.raises(FormatError) as caught:
            parse_platform(text)
        assert caught.value.hint == f"did you mean '{meant}'?"


@pytest.mark.parametrize("text", ["zx81", "linux/amd64/v1/x", "..", "linux amiga", "a b c", "é"])
def test_no_guess_for_anything_else(text):
    with pytest.raises(FormatError) as caught:
        parse_platform(text)
    assert caught.value.hint is None


def test_several_are_a_list():
    with pytest.raises(FormatError) as caught:
        platforms("linux/amd64, linux/arm64")
    assert caught.value.hint == "write [linux/amd64, linux/arm64]"


def test_every_suggestion_is_a_platform():
    for text in ("amd64", "arm64", "arm", "armv6", "386", "ppc64el", "s390", "riscv", "loongarch64"):
        meant = suggestion(text)
        assert meant is not None
        assert parse_platform(meant) == Platform.parse(meant)
