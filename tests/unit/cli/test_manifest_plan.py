"""The lock is taken where there is one, and only when it is of this very manifest."""

import pytest

from airgap.cli.endpoints import Endpoints
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
    loaded, plan = plan_of(manifest, Endpoints(), notes)
    assert loaded.name == "stack"
    assert notes.notes == ["no stack.lock.yaml: using the tags as they are now"]
    assert plan.images[0].locked.descriptor.digest == OLD.descriptor.digest


def test_with_a_lock_what_it_says(manifest):
    write_lock(manifest)
    write_layout(manifest.parent / "source", {"example.com/a:1": NEW})
    notes = Notes()
    _, plan = plan_of(manifest, Endpoints(), notes)
    assert notes.notes == []
    assert plan.images[0].locked.descriptor.digest == OLD.descriptor.digest


@pytest.mark.parametrize("text", [TEXT + "# a comment\n", TEXT.replace("example.com/a:1", "example.com/b:1")])
def test_a_lock_of_another_manifest(manifest, text):
    write_lock(manifest)
    manifest.write_text(text)
    with pytest.raises(FormatError, match="the lock belongs to another manifest") as caught:
        plan_of(manifest, Endpoints(), Notes())
    assert caught.value.hint.endswith(f"run `airgap lock {manifest}`")


def test_a_lock_that_cannot_be_read(manifest):
    lock_path(manifest).write_text("version: 1\n")
    with pytest.raises(FormatError, match=r"stack\.lock\.yaml"):
        plan_of(manifest, Endpoints(), Notes())
