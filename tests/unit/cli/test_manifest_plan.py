"""The lock is taken where there is one, and only when it is of this very manifest."""

import pytest

from airgap.cli.endpoints import Endpoints
from airgap.cli.manifest_choice import choose_manifest
from airgap.cli.manifest_plan import plan_of
from airgap.errors import FormatError
from airgap.manifest import TransferManifest, lock_path
from airgap.online.lock import resolve
from tests.support.images import simple_image, write_layout
from tests.unit.online.support import Notes

OLD, NEW = simple_image("old"), simple_image("new")
TEXT = "version: 1\nname: stack\nimages:\n  - {oci: source, ref: example.com/a:1}\n"


@pytest.fixture
def manifest(tmp_path):
    write_layout(tmp_path / "source", {"example.com/a:1": OLD})
    path = tmp_path / "stack.yaml"
    path.write_text(TEXT)
    return path


def write_lock(path):
    lock = resolve(TransferManifest.load(path), Endpoints().source)
    lock_path(path).write_bytes(lock.to_bytes(path.parent))


def test_without_a_lock_the_tags_as_they_are(manifest):
    notes = Notes()
    plan = plan_of(choose_manifest([manifest]), Endpoints(), notes)
    assert plan.lock.name == "stack"
    assert notes.notes == ["no stack.lock.yaml: using the tags as they are now"]
    assert plan.images[0].locked.descriptor.digest == OLD.descriptor.digest


def test_with_a_lock_what_it_says(manifest):
    write_lock(manifest)
    write_layout(manifest.parent / "source", {"example.com/a:1": NEW})
    notes = Notes()
    plan = plan_of(choose_manifest([manifest]), Endpoints(), notes)
    assert notes.notes == []
    assert plan.images[0].locked.descriptor.digest == OLD.descriptor.digest


@pytest.mark.parametrize(
    "tail", ["# a comment\n", "transfer: {ticket: CHG-8}\n", "destinations: [plant-7]\n"]
)
def test_what_the_lock_does_not_decide_needs_no_relock(manifest, tail):
    write_lock(manifest)
    manifest.write_text(TEXT + tail)
    plan = plan_of(choose_manifest([manifest]), Endpoints(), Notes())
    assert plan.lock.manifest_sha256 == TransferManifest.load(manifest).sha256


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("example.com/a:1", "example.com/b:1"),
        TEXT + "platforms: linux/s390x\n",
        TEXT + "attachments: none\n",
        TEXT.replace("stack", "other"),
    ],
)
def test_a_lock_of_another_manifest(manifest, text):
    write_lock(manifest)
    manifest.write_text(text)
    with pytest.raises(FormatError, match="the lock belongs to another manifest") as caught:
        plan_of(choose_manifest([manifest]), Endpoints(), Notes())
    assert caught.value.hint.endswith(f"run `airgap lock {manifest}`")


def test_a_lock_that_cannot_be_read(manifest):
    lock_path(manifest).write_text("version: 1\n")
    with pytest.raises(FormatError, match=r"stack\.lock\.yaml"):
        plan_of(choose_manifest([manifest]), Endpoints(), Notes())


def test_a_lock_of_an_older_version_is_of_exactly_its_manifest(manifest):
    write_lock(manifest)
    lock = lock_path(manifest)
    lock.write_text(
        "".join(line for line in lock.read_text().splitlines(keepends=True) if "images_sha256" not in line)
    )
    assert plan_of(choose_manifest([manifest]), Endpoints(), Notes()).images
    manifest.write_text(TEXT + "# a comment\n")
    with pytest.raises(FormatError, match="the lock belongs to another manifest"):
        plan_of(choose_manifest([manifest]), Endpoints(), Notes())
