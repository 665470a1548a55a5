"""Keyless signatures cross the gap without a network; the real cosign judges with the root that is carried."""

import subprocess
from pathlib import Path

import pytest

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, Descriptor
from airgap.oci.referrers import fallback_tag
from airgap.trust.cosign import BUNDLE_TYPE
from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.corpus import push
from tests.e2e.test_volumes import airgap, settings
from tests.support.images import Image, simple_image
from tests.support.keyless import ISSUER, SUBJECT, Signing, SigstoreInstance, signature_image
from tests.support.parts import CommandFailedError, require_tool
from tests.support.registries import RealRegistry
from tests.support.registry_parts import index_of
from tests.support.sid import Sid

IMAGE = simple_image("app")
INSTANCE = SigstoreInstance()


def referrers_of(signature: Image) -> Image:
    """The index at the fallback tag, as cosign writes it for a registry without the referrers API."""
    entry = {**signature.descriptor.to_json(), "artifactType": BUNDLE_TYPE}
    raw = index_of([entry])
    root = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
    return Image(root, raw, signature.contents | {root.digest: raw})


def put(registry: RealRegistry, signature: Image) -> str:
    """Push the image with its signature; return its name."""
    tag = fallback_tag(IMAGE.descriptor.digest)
    push(registry, {"acme/app:1": IMAGE, f"acme/app:{tag}": referrers_of(signature)})
    return f"{registry.host}/acme/app"


def judged(sid: Sid, root: Path, name: str, subject: str = SUBJECT) -> None:
    identity = ("--certificate-identity", subject, "--certificate-oidc-issuer", ISSUER)
    words = ("--new-bundle-format=true", "--allow-insecure-registry", "--trusted-root", root)
    sid("cosign", "verify", *identity, *words, f"{name}@{IMAGE.descriptor.digest}")


def connections(gap: Gap, *words: object) -> list[str]:
    """The calls with which the command, which checks a keyless signature, reaches for a network."""
    log = gap.folder / "strace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    strace = [require_tool("strace"), "-f", "-qq", "-o", str(log), "-e", calls]
    done = subprocess.run(
        [*strace, *airgap(*words)], env=settings(gap.offline), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"signed by {SUBJECT}" in done.stdout
    assert "not checked here" not in done.stdout
    return [line for line in log.read_text().splitlines() if "AF_INET" in line]


def test_a_keyless_signature_crosses_the_gap(
    gap: Gap, registry: RealRegistry, tmp_path: Path, sid: Sid
) -> None:
    name = put(registry, signature_image(INSTANCE.sign(Signing(str(IMAGE.descriptor.digest))), IMAGE))
    (gap.folder / "root.json").write_bytes(INSTANCE.trusted_root)
    identity = f"{{issuer: '{ISSUER}', subject: '{SUBJECT}', trusted-root: root.json}}"
    bundle = gap.pack(manifest_of(f"{{ref: '{name}:1', cosign-identity: {identity}}}"))
    assert connections(gap, "verify", bundle) == []
    assert connections(gap, "load", bundle, "--to", f"oci:{gap.folder}/out") == []
    (root,) = bundle.glob("trust/*.trusted_root.json")
    with RealRegistry(tmp_path / "enclave") as enclave:
        gap.offline("load", bundle, "--to", f"registry:{enclave.host}")
        judged(sid, root, f"{enclave.host}/acme/app")
        with pytest.raises(CommandFailedError, match="expected SAN value"):
            judged(sid, root, f"{enclave.host}/acme/app", subject=SUBJECT + "2")
