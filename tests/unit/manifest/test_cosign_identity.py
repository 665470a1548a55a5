"""`cosign-identity:` in a manifest and in its lock."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.errors import FormatError
from airgap.manifest import AttachmentChoice, Lock, TransferManifest
from airgap.manifest.cosign_identity import CosignIdentity
from tests.unit.manifest.test_lock import LOCK, NGINX

SUBJECT = "https://git.example/acme/app/.github/workflows/release.yml@refs/heads/main"
IDENTITY = CosignIdentity(
    issuer="https://issuer.example", subject=SUBJECT, trusted_root=Path("/m/keys/trusted_root.json")
)
TEXT = f"{{issuer: 'https://issuer.example', subject: '{SUBJECT}', trusted-root: keys/trusted_root.json}}"


def parse(entry: str, top: str = "") -> TransferManifest:
    raw = f"version: 1\nname: edge\n{top}images:\n  - {entry}\n"
    return TransferManifest.parse(raw.encode(), Path("/m/m.yaml"))


@pytest.mark.parametrize(
    "form",
    ["ref: a", "ref: a, tags: {semver: '1', latest: 1}", "oci: a", "archive: a"],
    ids=["named", "rule", "oci", "archive"],
)
def test_of_each_form_of_an_image(form):
    (image,) = parse(f"{{{form}, cosign-identity: {TEXT}}}", "attachments: none\n").images
    assert image.cosign_identity == IDENTITY
    assert image.attachments is AttachmentChoice.AUTO, "the signature is an attachment"


BAD = {
    "no subject": ("cosign-identity: {issuer: a, trusted-root: b}", "missing key: m.yaml:4:31, want 'subject'"),
    "no trusted root": ("cosign-identity: {issuer: a, subject: b}", "missing key: m.yaml:4:31, want 'trusted-root'"),
    "empty issuer": ("cosign-identity: {issuer: '', subject: b, trusted-root: c}", "wrong type: m.yaml:4:40, want text"),
    "a pattern key": (
        "cosign-identity: {issuer: a, subject-regexp: b, trusted-root: c}",
        "unknown key: m.yaml:4:43, want one of issuer, subject, trusted-root, got 'subject-regexp'",
    ),
    "a list of subjects": ("cosign-identity: {issuer: a, subject: [b], trusted-root: c}", "wrong type: m.yaml:4:52"),
    "text": ("cosign-identity: a@example.com", "wrong type: m.yaml:4:31, want"),
    "a key too": (f"cosign-key: k, cosign-identity: {TEXT}", "an image has a key and an identity: m.yaml:4:46"),
    "no attachments": (f"cosign-identity: {TEXT}, attachments: none", "a cosign-identity needs attachments: m.yaml:4:"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), BAD.values(), ids=BAD)
def test_refused(fields, words):
    with pytest.raises(FormatError) as raised:
        parse(f"{{ref: a, {fields}}}")
    assert words in str(raised.value).replace("/m/", "")


def test_a_lock_keeps_it():
    locked = replace(NGINX, cosign_key=None, cosign_identity=IDENTITY)
    lock = replace(LOCK, images=(locked,))
    raw = lock.to_bytes(Path("/m"))
    assert b"trusted-root: keys/trusted_root.json\n" in raw
    assert Lock.parse(raw, Path("/m/edge.lock.yaml")) == lock
    assert locked.is_demanding


@pytest.mark.parametrize(
    "change", [(SUBJECT, "b@example.com"), ("issuer.example", "other.example"), ("keys/", "")]
)
def test_a_lock_of_another_identity_does_not_fit(change):
    before, after = (parse(f"{{ref: a, cosign-identity: {text}}}") for text in (TEXT, TEXT.replace(*change)))
    assert before.images_sha256 != after.images_sha256
