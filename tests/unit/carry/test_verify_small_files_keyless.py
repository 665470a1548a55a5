"""Step 9 checks keyless signatures again, on each volume alone, if the library is installed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Statement
from airgap.bundle.upstream import UpstreamIdentity
from airgap.carry.identities import identities_of
from airgap.carry.verify_small_files import SmallFilesCheck
from airgap.errors import AmbiguousError, DigestMismatchError, SignatureMismatchError, UnsignedError
from airgap.oci.digest import Digest
from tests.support.cut import run
from tests.support.images import Layer, make_image, noise, simple_image, write_layout
from tests.support.keyless import ISSUER, SUBJECT, Signing, SigstoreInstance, signature_image

IMAGE = make_image([Layer.of({"a": noise(3_000_000, 1)}), Layer.of({"b": noise(3_000_000, 2)})])
OTHER = simple_image("other")
INSTANCE = SigstoreInstance()
SIGNATURE = signature_image(INSTANCE.sign(Signing(str(IMAGE.descriptor.digest))), IMAGE)
NAMES = {"example.com/app:1": IMAGE, "example.com/app:2": OTHER, "example.com/app:signature": SIGNATURE}
CLAIM = UpstreamIdentity(
    issuer=ISSUER,
    subject=SUBJECT,
    trusted_root=Digest.of(INSTANCE.trusted_root).hex,
    manifest=SIGNATURE.descriptor.digest,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A site that has packed a signed image and another one, into one folder and over two volumes."""
    folder = tmp_path_factory.mktemp("keyless")
    write_layout(folder / "source", NAMES)
    (folder / "root.json").write_bytes(INSTANCE.trusted_root)
    identity = json.dumps({"issuer": ISSUER, "subject": SUBJECT, "trusted-root": "root.json"})
    manifest = folder / "stack.yaml"
    wanted = {"example.com/app:1": f", cosign-identity: {identity}"}
    entries = [f"  - {{oci: source, ref: '{name}'{wanted.get(name, '')}}}\n" for name in list(NAMES)[:2]]
    manifest.write_text(f"version: 1\nname: stack\nimages:\n{''.join(entries)}")
    run(folder / "hq", "init", "--owner", "alice", "--site", "hq")
    run(folder / "hq", "pack", manifest, "--to", folder)
    media = [word for n in (1, 2) for word in ("--to", folder / str(n))]
    run(folder / "hq", "repack", folder / "stack-0001", *media, "--volume-size", "5MB")
    return folder / "stack-0001"


def read(bundle: Path, claim: UpstreamIdentity = CLAIM, of: str = "example.com/app:1") -> Statement:
    """Do step 9 with this claim about an image."""
    statement = Statement.parse((bundle / "statement.json").read_bytes())
    images = [
        replace(image, upstream_signature=claim if str(image.name) == of else None)
        for image in statement.images
    ]
    statement = replace(statement, images=tuple(images))
    sizes = {name: (bundle / name).stat().st_size for name in statement.subjects}
    with Folder(bundle) as folder:
        SmallFilesCheck(folder, statement, sizes).images()
    return statement


def test_the_packed_claim_is_right(made):
    statement = Statement.parse((made / "statement.json").read_bytes())
    assert [image.upstream_signature for image in statement.images] == [CLAIM, None, None]
    (found,) = identities_of(read(made))
    assert (str(found.image), found.identity.subject, found.checked) == ("example.com/app:1", SUBJECT, True)


@pytest.mark.parametrize("number", [1, 2])
def test_each_volume_has_the_signature_and_the_trusted_root(made, number):
    volume = made.parent / str(number) / f"stack-0001.v{number}"
    assert (volume / SIGNATURE.layers[0].path).exists()
    assert (volume / CLAIM.file).read_bytes() == INSTANCE.trusted_root


WRONG = {
    "another subject": (replace(CLAIM, subject=SUBJECT + "2"), SignatureMismatchError),
    "another issuer": (replace(CLAIM, issuer=ISSUER + ".org"), SignatureMismatchError),
    "a manifest that is not there": (replace(CLAIM, manifest=Digest.of(b"x")), AmbiguousError),
    "an image in place of a signature": (replace(CLAIM, manifest=IMAGE.descriptor.digest), UnsignedError),
}


@pytest.mark.parametrize(("claim", "error"), WRONG.values(), ids=WRONG)
def test_a_false_claim_is_refused(made, claim, error):
    with pytest.raises(error):
        read(made, claim)


def test_the_signature_of_another_image_is_refused(made):
    with pytest.raises(SignatureMismatchError, match="signed image differs"):
        read(made, of="example.com/app:2")


def test_without_the_library_the_files_are_checked_all_the_same(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "sigstore", None)
    (found,) = identities_of(read(made, replace(CLAIM, subject="states@example.com")))
    assert not found.checked
    with pytest.raises(AmbiguousError, match="the upstream signature is missing"):
        read(made, replace(CLAIM, manifest=Digest.of(b"x")))
    path = made / CLAIM.file
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"authority", b"Authority"))
    try:
        with pytest.raises(DigestMismatchError):
            read(made)
    finally:
        path.write_bytes(raw)
