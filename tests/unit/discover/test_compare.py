"""What files run, compared with what a manifest carries."""

from pathlib import Path

from airgap.discover.compare import compare
from airgap.discover.findings import Certainty, Findings, Place
from airgap.manifest import TransferManifest

DIGEST = "sha256:" + "a" * 64
MANIFEST = b"""version: 1
name: x
images:
  - nginx:1
  - {ref: other/app:1, as: 'acme/app:1'}
  - unused:1
  - {archive: x.tar}
"""


def test_names_are_compared_as_the_offline_side_knows_them() -> None:
    found = Findings()
    place = Place(file="f", line=1)
    for name in (f"nginx:1@{DIGEST}", "acme/app:1", "new:1"):
        found.add_image(name, place, certainty=Certainty.DERIVED, user="a")
    found.add_image("guess:1", place, certainty=Certainty.GUESS, user="a")
    found.add_image("optional:1", place, certainty=Certainty.SURE, user="a", optional="profile x")
    manifest = TransferManifest.parse(MANIFEST, Path("x.yaml"))
    result = compare(found.discovery(), manifest)
    assert [image.reference.familiar for image in result.missing] == ["new:1"]
    assert [reference.familiar for reference in result.unused] == ["unused:1"]
    assert result.is_partial
    strict = compare(found.discovery(), manifest, guesses=True)
    assert [image.reference.familiar for image in strict.missing] == ["new:1", "guess:1"]
