"""Bundles of files whose signer lies."""

from dataclasses import replace
from typing import Any

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import ImageKind, ImageRecord, PlatformRecord, Statement
from airgap.carry.verify import verify
from airgap.errors import AirgapError, AmbiguousError, FormatError, MissingContentError
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import EMPTY_CONFIG, CarriedFile, FileMode, artifact_manifest
from tests.support.bundles import Gap

TOOL = b"a tool"
TRUE = CarriedFile(name="tool", mode=FileMode.PROGRAM, digest=Digest.of(TOOL), size=len(TOOL))
OTHER = replace(TRUE, name="other")


def put(
    gap: Gap, *blobs: bytes, carried: CarriedFile = TRUE, raw: bytes | None = None, **record: Any
) -> None:
    """Sign a bundle with one artifact of `carried`, and say of it what is in `record`."""
    raw = artifact_manifest([carried]) if raw is None else raw
    platforms = (PlatformRecord("unknown/unknown", Digest.of(raw), Digest.of(EMPTY_CONFIG)),)
    said = {"kind": ImageKind.FILES, "files": (carried,), "platforms": platforms, **record}
    gap.put_image(raw, EMPTY_CONFIG, *(blobs or (TOOL,)), **said)


def verified(gap: Gap) -> ImageRecord:
    with Folder(gap.bundle) as folder:
        return verify(folder, gap.receiver()).images[0].record


def test_files_are_verified(gap):
    put(gap)
    assert verified(gap).files == (TRUE,)


LIES: dict[str, tuple[dict[str, Any], type[AirgapError], str]] = {
    "another name": ({"files": (OTHER,)}, AmbiguousError, "the statement's files are not those"),
    "another mode": ({"files": (replace(TRUE, mode=FileMode.DATA),)}, AmbiguousError, "the statement's files"),
    "no files": ({"files": ()}, AmbiguousError, "the statement's files are not those"),
    "more files": ({"files": (OTHER, TRUE)}, AmbiguousError, "the statement's files are not those"),
    "an artifact": ({"kind": ImageKind.ARTIFACT}, AmbiguousError, "the statement's platforms are not those"),
    "an image": ({"kind": ImageKind.IMAGE}, AmbiguousError, "the statement's platforms are not those"),
    "twins": ({"files": (TRUE, replace(TRUE, name="TOOL"))}, AmbiguousError, "two files have the same name"),
    "upwards": ({"carried": replace(TRUE, name="../tool")}, FormatError, "not the name of a file"),
    "spaces": ({"raw": artifact_manifest([TRUE]) + b" "}, AmbiguousError, "not in canonical form"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_lie_about_files_is_refused(gap, case):
    said, kind, message = LIES[case]
    put(gap, **said)
    with pytest.raises(kind) as caught:
        verified(gap)
    assert message in str(caught.value)


def test_a_file_that_is_not_in_the_bundle_is_missing(gap):
    put(gap, b"something else")
    with pytest.raises(MissingContentError) as caught:
        verified(gap)
    assert "a blob is neither listed nor required" in str(caught.value)


def test_files_of_an_image_of_another_kind_are_unknown(gap):
    put(gap)
    raw = gap.statement.to_bytes().replace(b'"kind":"files"', b'"kind":"artifact"')
    with pytest.raises(FormatError) as caught:
        Statement.parse(raw)
    assert "unknown field" in str(caught.value)
    with pytest.raises(FormatError):
        Statement.parse(gap.statement.to_bytes().replace(b'"0755"', b'"4755"'))
