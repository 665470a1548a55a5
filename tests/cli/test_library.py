"""What `airgap.api` says of a bundle that the commands made."""

from airgap import api
from tests.cli.conftest import Gap


def test_the_library_lists_the_files(gap: Gap) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text("version: 1\nname: stack\nfiles: [{path: stack.yaml, name: etc/a.yaml}]\n")
    gap.online("pack", path, "--to", gap.stick)
    [image] = api.verify([gap.stick / "stack-0001"], home=gap.offline.home).images
    [file] = image.files
    assert (image.kind, file.name, file.mode, file.size) == (
        "files",
        "etc/a.yaml",
        "0644",
        len(path.read_bytes()),
    )
    assert file.digest.startswith("sha256:")
