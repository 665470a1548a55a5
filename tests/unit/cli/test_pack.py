"""What `airgap pack` says of images that an engine unpacked."""

from datetime import UTC, datetime

from airgap.bundle.statement import ImageRecord, PlatformRecord, Statement
from airgap.cli.pack import _repacked_lines
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference

PINNED, MANIFEST, CONFIG = (Digest.of(word) for word in (b"pinned", b"manifest", b"config"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(reference: str, source: str) -> ImageRecord:
    platform = PlatformRecord("linux/amd64", MANIFEST, CONFIG)
    name = ImageReference.parse("example.com/a:1")
    return ImageRecord(
        reference=ImageReference.parse(reference),
        name=name,
        kind="image",
        digest=MANIFEST,
        platforms=(platform,),
        source=source,
    )


def statement(*images: ImageRecord) -> Statement:
    return Statement(
        subjects={},
        stream="s",
        serial=1,
        epoch=1,
        previous=None,
        created=NOW,
        not_before=NOW,
        expires=NOW,
        destinations=(),
        images=images,
        requires=(),
        total_bytes=0,
        manifest_sha256="0" * 64,
        root_version=1,
        sender=None,
        transfer={},
        tool_version="1",
    )


def test_what_only_the_engine_says() -> None:
    [line] = _repacked_lines(statement(record(f"example.com/a@{PINNED}", "docker, repacked")))
    assert f"not the pinned {PINNED}" in line


def test_what_is_proved_by_its_bytes() -> None:
    images = (
        record(f"example.com/a@{MANIFEST}", "docker, repacked"),
        record(f"example.com/a@{CONFIG}", "docker, repacked"),
        record(f"example.com/a@{PINNED}", "docker"),
        record("example.com/a:1", "docker, repacked"),
    )
    assert _repacked_lines(statement(*images)) == []
