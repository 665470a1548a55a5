"""`cosign-key:` holds only for an image that the key has signed, with the signature travelling beside it."""

import base64
import json
from dataclasses import dataclass

import pytest

from airgap.errors import AirgapError, MissingContentError, SignatureMismatchError, UnsignedError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_MANIFEST, Descriptor
from airgap.online.upstream import check_upstream
from airgap.trust.cosign import SIGNATURE_ANNOTATION, SIMPLE_SIGNING_TYPE
from airgap.trust.keys import SigningKey
from tests.support.images import Image, simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource
from tests.unit.online.support import manifest_of, plan_of

APP = simple_image("app")
NAME, OFFLINE = "example.com/app:1", "plant.local/app:1"
ACME, STRANGER = (SigningKey.generate("ecdsa-p256") for _ in range(2))


def signature_of(digest: Digest, signer: SigningKey = ACME, spoil: bytes = b"") -> Image:
    """What `cosign sign` puts beside an image."""
    image = {"docker-manifest-digest": str(digest)}
    critical = {
        "identity": {"docker-reference": ""}, "image": image, "type": "cosign container image signature",
    }  # fmt: skip
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    annotations = {SIGNATURE_ANNOTATION: base64.b64encode(signer.sign(payload + spoil)).decode()}
    layer = Descriptor(SIMPLE_SIGNING_TYPE, Digest.of(payload), len(payload))
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [{**layer.to_json(), "annotations": annotations}],
    }
    raw = json.dumps(manifest).encode()
    contents = {Digest.of(each): each for each in (raw, config, payload)}
    return Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw, contents)


def tag_of(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}.sig"


@dataclass
class Case:
    """An image with a key in its entry, and what is locked beside it."""

    folder: object

    def check(self, *signatures: Image, key: bytes | None = None, repository: str = "app", **fields):
        pem = ACME.public_key.pem.encode() if key is None else key
        (self.folder / "acme.pub").write_bytes(pem)
        beside = {f"example.com/{repository}:s{n}": image for n, image in enumerate(signatures)}
        source = MemorySource({NAME: APP, **beside}, **fields)
        entries = [f"{{ref: '{NAME}', as: '{OFFLINE}', cosign-key: acme.pub}}"]
        entries += [f"{{ref: '{n}', as: 'plant.local/{n.partition('/')[2]}'}}" for n in beside]
        return check_upstream(plan_of(manifest_of(*entries, folder=self.folder), registry=source)).signatures


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


GOOD = signature_of(APP.descriptor.digest)
OTHER_IMAGE = signature_of(Digest.of(b"another"))
OTHER_KEY = signature_of(APP.descriptor.digest, STRANGER)
SPOILT = signature_of(APP.descriptor.digest, spoil=b"!")


@pytest.mark.parametrize("beside", [[GOOD], [OTHER_IMAGE, OTHER_KEY, GOOD], [simple_image("x"), GOOD]])
def test_signed(case, beside):
    found = case.check(*beside)
    assert list(found) == [OFFLINE]
    claim = found[OFFLINE]
    assert claim.manifest == GOOD.descriptor.digest
    assert (claim.key, claim.keyid) == (ACME.public_key.pem, ACME.public_key.keyid)


@pytest.mark.parametrize(
    "beside",
    [[OTHER_IMAGE], [OTHER_KEY], [SPOILT], [OTHER_KEY, OTHER_IMAGE, SPOILT]],
    ids=["another image", "another key", "spoilt", "all"],
)
def test_signatures_that_do_not_hold(case, beside):
    with pytest.raises(SignatureMismatchError, match=r"no upstream signature is valid: example\.com/app:1"):
        case.check(*beside)


@pytest.mark.parametrize("beside", [[], [simple_image("x")]], ids=["nothing", "an image"])
def test_unsigned(case, beside):
    with pytest.raises(UnsignedError, match=r"no upstream signature: example\.com/app:1") as raised:
        case.check(*beside)
    assert "cosign sign" in raised.value.hint


def test_signatures_in_another_repository_do_not_count(case):
    with pytest.raises(UnsignedError):
        case.check(GOOD, repository="else")


@pytest.mark.parametrize("wrong", [b"short", b"?" * 1000])
def test_a_payload_that_is_swapped_on_the_way(case, wrong):
    payload = next(digest for digest, raw in GOOD.contents.items() if b"critical" in raw)
    with pytest.raises(SignatureMismatchError, match="wrong size"):
        case.check(GOOD, swaps={payload: wrong})


@pytest.mark.parametrize("key", [b"", b"no key", b"x" * 100_000])
def test_bad_key_files(case, key):
    with pytest.raises(AirgapError) as raised:
        case.check(GOOD, key=key)
    assert "acme.pub" in str(raised.value)


def test_no_key_file(tmp_path):
    manifest = manifest_of(f"{{ref: '{NAME}', cosign-key: gone.pub}}", folder=tmp_path)
    with pytest.raises(MissingContentError, match=r"gone\.pub"):
        check_upstream(plan_of(manifest, registry=MemorySource({NAME: APP})))


def test_images_without_a_key_are_not_asked(case):
    plan = plan_of(manifest_of(NAME), registry=MemorySource({NAME: APP}))
    assert check_upstream(plan).signatures == {}


@pytest.mark.parametrize("key", ["", ", cosign-key: acme.pub"])
def test_exports_have_none(tmp_path, key):
    manifest = manifest_of(f"{{ref: '{NAME}', source: docker{key}}}", folder=tmp_path)
    plan = plan_of(manifest, docker=MemoryEngine({NAME: APP}))
    if key:
        with pytest.raises(UnsignedError, match="only images from a registry"):
            check_upstream(plan)
    else:
        assert check_upstream(plan).signatures == {}
