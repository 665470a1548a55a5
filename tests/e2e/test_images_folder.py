"""The archives for k3s, RKE2 and k0s, judged by a real containerd, which they all bring, and by skopeo."""

from pathlib import Path

from airgap.oci.digest import Digest
from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import corpus, push
from tests.support.containerds import RealContainerd
from tests.support.registries import RealRegistry


def test_real_readers(
    gap: Gap, registry: RealRegistry, session_containerd16: RealContainerd, skopeo: Tool, tmp_path: Path
) -> None:
    """k3s imports all platforms, and of a sparse index a single one; k0s its own platform."""
    images = corpus()
    push(registry, images)
    names = {f"{registry.host}/{name}": str(image.descriptor.digest) for name, image in images.items()}
    bundle = gap.pack(manifest_of(*names, platforms="linux/amd64"))
    multi = f"{registry.host}/acme/multi:1"
    for kind, options in (("k3s", ["--all-platforms"]), ("k0s", [])):
        folder = tmp_path / kind
        loaded = gap.offline("load", bundle, "--to", f"{kind}:{folder}").json["images"]
        wanted = {image["reference"]: image["after"] for image in loaded}
        assert (wanted[multi] == names[multi]) == (kind == "k0s")
        assert wanted | {multi: ""} == names | {multi: ""}
        for archive in folder.iterdir():
            session_containerd16.ctr(f"folder-{kind}", "images", "import", *options, archive)
        assert session_containerd16.names(f"folder-{kind}") == wanted
        assert session_containerd16.whole(f"folder-{kind}") == set(wanted)
    [archive] = (tmp_path / "k3s").glob("*acme_one*")
    raw = skopeo("inspect", "--raw", f"oci-archive:{archive}").stdout
    assert Digest.of(raw) == images["acme/one:1"].descriptor.digest
