import pytest

from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags, fallback_tag, is_fallback_tag

SHORT = Digest("sha256", "ab" * 32)
LONG = Digest("sha512", "cd" * 64)


def test_the_fallback_tag():
    assert fallback_tag(SHORT) == "sha256-" + "ab" * 32
    assert fallback_tag(LONG) == "sha512-" + "cd" * 32


@pytest.mark.parametrize("tag", [None, "", "latest", f"x{fallback_tag(SHORT)}", *cosign_tags(SHORT)])
def test_other_tags_are_not_fallback_tags(tag: str | None):
    assert is_fallback_tag(fallback_tag(SHORT))
    assert is_fallback_tag(fallback_tag(LONG))
    assert not is_fallback_tag(tag)


def test_cosign_tags():
    assert cosign_tags(SHORT) == tuple("sha256-" + "ab" * 32 + end for end in (".sig", ".att", ".sbom"))
    assert cosign_tags(LONG) == ()


@pytest.mark.parametrize("tag", [fallback_tag(SHORT), fallback_tag(LONG), *cosign_tags(SHORT)])
def test_all_are_tags(tag: str):
    assert ImageReference.parse(f"acme/api:{tag}").tag == tag
