"""`upstream_signature` of an image, in its two forms."""

import pytest

from airgap.bundle.upstream import (
    UpstreamIdentity,
    UpstreamSignature,
    check_trusted_roots,
    parse_upstream,
    trusted_root_file,
    upstream_json,
)
from airgap.errors import FormatError
from airgap.limits import MAX_TEXT_CHARACTERS
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields

MANIFEST = Digest.of(b"a signature")
ROOT, OTHER = "1" * 64, "2" * 64
KEYLESS = UpstreamIdentity(
    issuer="https://issuer.example", subject="a@example.com", trusted_root=ROOT, manifest=MANIFEST
)
VALUE = KEYLESS.to_json()


def parse(value):
    return parse_upstream(Fields({"upstream_signature": value}, "image"))


@pytest.mark.parametrize(
    "upstream", [None, KEYLESS, UpstreamSignature("pem", ROOT, MANIFEST)], ids=["none", "identity", "key"]
)
def test_it_reads_back(upstream):
    assert parse(upstream_json(upstream)) == upstream


BAD = {
    "no subject": ({key: VALUE[key] for key in VALUE if key != "subject"}, "wrong type: image.*subject"),
    "an empty issuer": (
        {**VALUE, "issuer": ""},
        "wrong text: .*issuer, want 1 to 1,000 printable characters",
    ),
    "a line feed": ({**VALUE, "subject": "a\nb"}, "wrong text: .*subject"),
    "too long": ({**VALUE, "subject": "a" * (MAX_TEXT_CHARACTERS + 1)}, "wrong text"),
    "not a hash": ({**VALUE, "trusted_root_sha256": "../1"}, "trusted_root_sha256"),
    "not a digest": ({**VALUE, "manifest": "x"}, "digest"),
    "a key too": ({**VALUE, "key": "pem"}, "unknown field"),
    "a list of subjects": ({**VALUE, "subject": ["a"]}, "wrong type"),
    "text": ("yes", "wrong type"),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_refused(value, words):
    with pytest.raises(FormatError, match=words):
        parse(value)


@pytest.mark.parametrize(
    ("upstreams", "roots", "words"),
    [
        ([KEYLESS], [], "the trusted root is not listed"),
        ([KEYLESS], [ROOT, OTHER], "no image needs the trusted root"),
        ([None], [ROOT], "no image needs the trusted root"),
    ],
    ids=["absent", "one too many", "for nothing"],
)
def test_the_trusted_roots_are_those_that_images_need(upstreams, roots, words):
    names = ["trust/1.root.json", *map(trusted_root_file, roots)]
    with pytest.raises(FormatError, match=words):
        check_trusted_roots(upstreams, names, "statement")
    check_trusted_roots([KEYLESS, None, KEYLESS], [trusted_root_file(ROOT)], "statement")
