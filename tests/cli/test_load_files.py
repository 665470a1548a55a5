"""Files beside images, from the manifest to a folder of the offline side."""

from pathlib import Path

import pytest

from tests.cli.conftest import Gap, files_of
from tests.support.images import simple_image

TOOL = b"#!/bin/sh\necho tool\n"
FILES = {"tool": TOOL, "a.yaml": b"a: 1\n", "sub/b.yaml": b"b: 1\n"}


def write_sources(gap: Gap) -> None:
    """A program, and a folder with a subfolder."""
    (gap.folder / "conf" / "sub").mkdir(parents=True)
    (gap.folder / "conf" / "a.yaml").write_bytes(b"a: 1\n")
    (gap.folder / "conf" / "sub" / "b.yaml").write_bytes(b"b: 1\n")
    (gap.folder / "conf" / "notes.txt").write_bytes(b"not matched\n")
    (gap.folder / "tool").write_bytes(TOOL)
    (gap.folder / "tool").chmod(0o700)


def with_files(gap: Gap, *more: str) -> Path:
    """A manifest of an image, a program and a folder."""
    write_sources(gap)
    path = gap.layout(web=simple_image("web"))
    items = ("./tool", '{folder: conf, match: "**/*.yaml"}', *more)
    path.write_text(path.read_text() + "files:\n" + "".join(f"  - {item}\n" for item in items))
    return path


@pytest.fixture
def bundle(gap: Gap) -> Path:
    """A sealed bundle with an image and two artifacts of files."""
    path = with_files(gap)
    gap.online("lock", path)
    gap.online("pack", path, "--to", gap.stick)
    return gap.stick / "stack-0001"


def test_files_are_written_whole_with_their_modes(gap, bundle):
    done = gap.offline("load", bundle, "--files-to", gap.folder / "srv", "--json")
    assert files_of(gap.folder / "srv") == FILES
    assert (gap.folder / "srv" / "tool").stat().st_mode & 0o777 == 0o755
    assert (gap.folder / "srv" / "a.yaml").stat().st_mode & 0o777 == 0o644
    verdicts = {image["reference"]: image["verdict"] for image in done.json["images"]}
    assert verdicts == {
        "example.com/web:1": "skipped",
        "airgap.internal/stack/tool:latest": "placed",
        "airgap.internal/stack/conf:latest": "placed",
    }
