"""Signatures that the real cosign makes, and ours for it to judge, kept in the real docker-registry."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from airgap.endpoints.registry import Registry
from airgap.errors import FormatError, NotFoundError, SignatureMismatchError, UnsignedError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, parse_document
from airgap.oci.reference import ImageReference
from airgap.trust.cosign import (
    BUNDLE_TYPE,
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING_TYPE,
    SignatureMaterial,
    check_image,
    materials_of,
)
from airgap.trust.envelope import STATEMENT_TYPE, pae
from airgap.trust.keys import PublicKey, SigningKey
from tests.support.images import Image, make_index, simple_image
from tests.support.parts import CommandFailedError
from tests.support.registries import RealRegistry
from tests.support.sid import Sid

HELLO = simple_image("hello")
OTHER = simple_image("other")
ARM = simple_image("arm", platform="linux/arm64")
INDEX = make_index([HELLO, ARM])

FORMS = {"simple": "--new-bundle-format=false", "bundle": "--new-bundle-format=true"}
OFFLINE = ("--tlog-upload=false", "--use-signing-config=false", "--yes")
"""Without these cosign asks for signing services on the network."""

PEM = serialization.Encoding.PEM


class Repository:
    """One repository of the registry, seen through our client."""

    def __init__(self, host: str) -> None:
        self.client = Registry(host)
        self.reference = ImageReference.parse(f"{host}/acme/app:1")

    def put(self, image: Image) -> str:
        """Push an image or index with all below it, contents before what names them; its name by digest."""
        for raw in image.contents.values():
            fields = json.loads(raw) if raw.startswith(b"{") else {}
            if "schemaVersion" in fields:
                self.put_document(fields["mediaType"], raw)
            else:
                self.put_blob(raw)
        return f"{self.reference.name}@{image.descriptor.digest}"

    def put_blob(
        self, raw: bytes, media_type: str = "application/octet-stream", **annotations: str
    ) -> Descriptor:
        blob = Descriptor(media_type, Digest.of(raw), len(raw), annotations=annotations)
        self.client.put_blob(self.reference, blob, io.BytesIO(raw))
        return blob

    def put_document(self, media_type: str, raw: bytes, tag: str | None = None) -> Descriptor:
        document = Descriptor(media_type, Digest.of(raw), len(raw))
        self.client.tag(replace(self.reference, tag=tag), document, raw)
        return document

    def put_signature(self, tag: str | None, layer: Descriptor, **more: Any) -> Descriptor:
        """A signature manifest over one layer."""
        config = self.put_blob(b"{}", OCI_CONFIG).to_json()
        fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config}
        raw = json.dumps({**fields, "layers": [layer.to_json()], **more}).encode()
        return self.put_document(OCI_MANIFEST, raw, tag)

    def materials(self, image: Image) -> list[SignatureMaterial]:
        """What cosign's own tag and the fallback tag of the image's referrers hold."""
        return [
            material
            for tag in (f"sha256-{image.descriptor.digest.hex}.sig", f"sha256-{image.descriptor.digest.hex}")
            for material in self._under(replace(self.reference, tag=tag))
        ]

    def _under(self, reference: ImageReference) -> Iterator[SignatureMaterial]:
        try:
            found = self.client.resolve(reference)
        except NotFoundError:
            return
        raw = self.client.read_document(reference, found)
        document = parse_document(raw, found.media_type, str(reference))
        if found.media_type == OCI_INDEX:
            for each in document.manifests:
                yield from self._under(reference.with_digest(each.digest))
        else:
            yield from materials_of(document, self._read)

    def _read(self, blob: Descriptor) -> bytes:
        with io.BufferedReader(self.client.open_blob(self.reference, blob)) as stream:
            return stream.read(blob.size + 1)


class Cosign:
    """The real cosign, with one key pair in a folder of its own."""

    def __init__(self, sid: Sid, folder: Path) -> None:
        self._sid = sid
        self.folder = folder

    def __call__(self, *argv: str | Path) -> bytes:
        env = {"HOME": str(self.folder), "COSIGN_PASSWORD": "secret"}
        return self._sid("cosign", *argv, env=env).stdout

    def generate(self) -> PublicKey:
        self("generate-key-pair", "--output-key-prefix", self.folder / "cosign")
        return self.public_key

    def use(self, private: Any) -> None:
        """Take over a private key of `cryptography`."""
        plain = self.folder / "plain.pem"
        none = serialization.NoEncryption()
        plain.write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, none))
        self("import-key-pair", "--yes", "--key", plain, "--output-key-prefix", self.folder / "cosign")

    @property
    def public_key(self) -> PublicKey:
        path = self.folder / "cosign.pub"
        return PublicKey.from_pem(path.read_bytes(), path.name)

    def sign(self, form: str, image: str, *more: str, command: str = "sign") -> None:
        key = ("--key", self.folder / "cosign.key")
        self(command, *key, FORMS[form], *OFFLINE, "--allow-insecure-registry", *more, image)

    def verify(self, form: str, image: str, *more: str) -> None:
        key = ("--key", self.folder / "cosign.pub", "--insecure-ignore-tlog=true")
        self("verify", *key, FORMS[form], "--allow-insecure-registry", *more, image)

    def refuses(self, form: str, image: str) -> str:
        """What `verify` complains about."""
        with pytest.raises(CommandFailedError) as raised:
            self.verify(form, image)
        return raised.value.output


@pytest.fixture
def repository(registry: RealRegistry) -> Repository:
    return Repository(registry.host)


@pytest.fixture
def cosign(sid: Sid, tmp_path: Path) -> Cosign:
    folder = tmp_path / "cosign"
    folder.mkdir()
    return Cosign(sid, folder)


def flipped(material: SignatureMaterial) -> SignatureMaterial:
    """The material with one signed byte changed."""
    if material.kind == "simple":
        return replace(material, payload=material.payload.replace(b"team", b"Team"))
    fields = json.loads(material.payload)
    signed = base64.b64decode(fields["dsseEnvelope"]["payload"])
    fields["dsseEnvelope"]["payload"] = base64.b64encode(signed.replace(b"team", b"Team")).decode()
    return replace(material, payload=json.dumps(fields).encode())


def stripped(material: SignatureMaterial) -> SignatureMaterial:
    """The material without its signature."""
    fields = json.loads(material.payload)
    fields.get("dsseEnvelope", {})["signatures"] = []
    return replace(material, signature=None, payload=json.dumps(fields).encode())


# -- what cosign makes -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_cosign_signs(form: str, cosign: Cosign, repository: Repository):
    digest, key = HELLO.descriptor.digest, cosign.generate()
    name = repository.put(HELLO)
    with pytest.raises(UnsignedError):
        check_image(digest, key, repository.materials(HELLO))
    cosign.sign(form, name, "-a", "team=a")
    (material,) = repository.materials(HELLO)
    assert material.kind == form
    assert check_image(digest, key, [material]) is material
    cosign.verify(form, name, "-a", "team=a")
    for bad in (flipped(material), stripped(material)):
        with pytest.raises(SignatureMismatchError):
            check_image(digest, key, [bad])
    with pytest.raises(SignatureMismatchError, match="signature is not of this key"):
        check_image(digest, SigningKey.generate().public_key, [material])
    with pytest.raises(SignatureMismatchError, match=f"signed image differs.*{OTHER.descriptor.digest.hex}"):
        check_image(OTHER.descriptor.digest, key, [material])


def test_both_forms_of_an_index_and_its_images(cosign: Cosign, repository: Repository):
    key, name = cosign.generate(), repository.put(INDEX)
    for form in FORMS:
        cosign.sign(form, name, "--recursive")
    for image in (INDEX, HELLO, ARM):
        materials = repository.materials(image)
        assert [each.kind for each in materials] == ["simple", "bundle"]
        for material in materials:
            check_image(image.descriptor.digest, key, [material])


def test_a_signature_among_those_of_others(cosign: Cosign, repository: Repository):
    key, name = cosign.generate(), repository.put(HELLO)
    cosign.sign("simple", name)
    cosign.sign("bundle", name)
    cosign.use(ec.generate_private_key(ec.SECP256R1()))
    cosign.sign("simple", name)
    cosign.sign("bundle", name)
    materials = repository.materials(HELLO)
    assert len(materials) == 4
    for each in (key, cosign.public_key):
        check_image(HELLO.descriptor.digest, each, materials[:2])
        check_image(HELLO.descriptor.digest, each, materials[2:])


@pytest.mark.parametrize("form", FORMS)
def test_p384(form: str, cosign: Cosign, repository: Repository):
    cosign.use(ec.generate_private_key(ec.SECP384R1()))
    name = repository.put(HELLO)
    cosign.sign(form, name)
    check_image(HELLO.descriptor.digest, cosign.public_key, repository.materials(HELLO))
    cosign.verify(form, name, "--signature-digest-algorithm", "sha384")


@pytest.mark.parametrize("form", FORMS)
def test_ed25519_of_cosign_3_is_refused_as_cosign_does(form: str, cosign: Cosign, repository: Repository):
    cosign.use(ed25519.Ed25519PrivateKey.generate())
    name = repository.put(HELLO)
    cosign.sign(form, name)
    with pytest.raises(SignatureMismatchError) as raised:
        check_image(HELLO.descriptor.digest, cosign.public_key, repository.materials(HELLO))
    assert "Ed25519ph" in raised.value.hint
    cosign.refuses(form, name)


def test_rsa_keys_are_refused(cosign: Cosign):
    cosign.use(rsa.generate_private_key(65537, 2048))
    with pytest.raises(
        FormatError, match=r"cosign\.pub, want PEM, one of ecdsa-p256.*an unsupported kind of key \(RSA\)"
    ):
        _ = cosign.public_key


def test_an_attestation_is_no_signature(cosign: Cosign, repository: Repository):
    """Here cosign is laxer: `cosign verify` takes any signed statement about the image for a signature."""
    key, name = cosign.generate(), repository.put(HELLO)
    predicate = cosign.folder / "predicate.json"
    predicate.write_text('{"scanned":true}')
    cosign.sign("bundle", name, "--predicate", str(predicate), "--type", "custom", command="attest")
    materials = repository.materials(HELLO)
    assert len(materials) == 1
    with pytest.raises(SignatureMismatchError, match="differs"):
        check_image(HELLO.descriptor.digest, key, materials)
    cosign.verify("bundle", name)


def test_a_signed_blob_is_no_signature(cosign: Cosign, repository: Repository, sid: Sid):
    """`cosign sign-blob` of the image manifest, attached with oras."""
    key, name = cosign.generate(), repository.put(HELLO)
    manifest, signed = cosign.folder / "manifest.json", cosign.folder / "signed.json"
    manifest.write_bytes(HELLO.raw)
    cosign("sign-blob", "--key", cosign.folder / "cosign.key", *OFFLINE, "--bundle", signed, manifest)
    attach = ("attach", "--plain-http", "--disable-path-validation", "--artifact-type", BUNDLE_TYPE)
    sid("oras", *attach, name, f"{signed}:{BUNDLE_TYPE}")
    with pytest.raises(SignatureMismatchError, match="want dsseEnvelope, got 'messageSignature'"):
        check_image(HELLO.descriptor.digest, key, repository.materials(HELLO))
    assert "does not contain a DSSE envelope" in cosign.refuses("bundle", name)


# -- what others make: cosign judges ---------------------------------------------------------------


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def with_sha256(private: Any, message: bytes) -> bytes:
    return private.sign(message, ec.ECDSA(hashes.SHA256()))


def pure(private: Any, message: bytes) -> bytes:
    return private.sign(message)


OLDER: dict[str, tuple[Callable[[], Any], Callable[[Any, bytes], bytes]]] = {
    "ecdsa-p256": (lambda: ec.generate_private_key(ec.SECP256R1()), with_sha256),
    "ecdsa-p384 with SHA-256": (lambda: ec.generate_private_key(ec.SECP384R1()), with_sha256),
    "ed25519 pure": (ed25519.Ed25519PrivateKey.generate, pure),
}
"""The algorithms that `cosign verify` wants, as older cosign makes them."""


def put_simple(repository: Repository, sign: Callable[[bytes], bytes]) -> None:
    critical = {
        "identity": {"docker-reference": "elsewhere.example/app"},
        "image": {"docker-manifest-digest": str(HELLO.descriptor.digest)},
        "type": "cosign container image signature",
    }
    payload = json.dumps({"critical": critical, "optional": {"made": "by hand"}}).encode()
    layer = repository.put_blob(payload, SIMPLE_SIGNING_TYPE, **{SIGNATURE_ANNOTATION: b64(sign(payload))})
    repository.put_signature(f"sha256-{HELLO.descriptor.digest.hex}.sig", layer)


def put_bundle(repository: Repository, sign: Callable[[bytes], bytes], keyid: str) -> None:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": HELLO.descriptor.digest.hex}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    signature = {"sig": b64(sign(pae(STATEMENT_TYPE, payload)))}
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": b64(bytes.fromhex(keyid))}},
        "dsseEnvelope": {"payload": b64(payload), "payloadType": STATEMENT_TYPE, "signatures": [signature]},
    }
    layer = repository.put_blob(json.dumps(bundle).encode(), BUNDLE_TYPE)
    more = {"subject": HELLO.descriptor.to_json(), "artifactType": BUNDLE_TYPE}
    entry = {**repository.put_signature(None, layer, **more).to_json(), "artifactType": BUNDLE_TYPE}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    repository.put_document(OCI_INDEX, json.dumps(index).encode(), f"sha256-{HELLO.descriptor.digest.hex}")


@pytest.mark.parametrize("algorithm", OLDER)
def test_cosign_accepts_what_we_accept(algorithm: str, cosign: Cosign, repository: Repository):
    make, sign = OLDER[algorithm]
    private = make()
    cosign.use(private)
    name = repository.put(HELLO)
    put_simple(repository, partial(sign, private))
    put_bundle(repository, partial(sign, private), cosign.public_key.keyid)
    materials = repository.materials(HELLO)
    assert [each.kind for each in materials] == ["simple", "bundle"]
    for material in materials:
        check_image(HELLO.descriptor.digest, cosign.public_key, [material])
        cosign.verify(material.kind, name)
