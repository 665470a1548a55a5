"""The artifact of files: what is refused, and that its one form is read as it was written."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AmbiguousError, FormatError
from airgap.limits import MAX_ARTIFACT_FILES
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, ImageManifest, parse_document
from airgap.oci.files_artifact import (
    FILES_ARTIFACT,
    CarriedFile,
    FileMode,
    artifact_manifest,
    check_file_name,
    check_file_names,
    files_of,
)
from airgap.oci.strict_json import Fields


def carried(name: str, mode: FileMode = FileMode.DATA) -> CarriedFile:
    return CarriedFile(name=name, mode=mode, digest=Digest.of(name.encode()), size=len(name))


def read(raw: bytes) -> tuple[CarriedFile, ...]:
    """The files in a manifest."""
    document = parse_document(raw, OCI_MANIFEST, "artifact")
    assert isinstance(document, ImageManifest)
    return files_of(document, "artifact")


def test_the_manifest_has_the_bytes_of_the_format():
    raw = artifact_manifest([carried("k3s", FileMode.PROGRAM)])
    assert (
        raw
        == (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
            b'"artifactType":"application/vnd.airgap.files.v1",'
            b'"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":'
            b'"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},'
            b'"layers":[{"mediaType":"application/octet-stream","digest":"%s","size":3,'
            b'"annotations":{"org.opencontainers.image.title":"k3s","vnd.airgap.file.mode":"0755"}}]}'
        )
        % str(Digest.of(b"k3s")).encode()
    )


GOOD = [
    "k3s", ".env", "_x", "a b (1).txt", "v1.30+k3s1", "a/b/c.yaml", "user@host=1,2~", "contrib", "com10", "auxiliary",
    "x" * 200, "/".join("abcdefghi"),
]  # fmt: skip
BAD = [
    "", ".", "..", "../x", "x/..", "/x", "x/", "x//y", "~x", "-rf", " x", "x ", "x.", "a./b", "x\\y", "C:x", "x\ny",
    "x\x1by", "x\u202ey", "é", "x*", "x?", "x|y", "x%y", "con", "CON", "nul.txt", "Aux .txt", "COM1", "a/lpt9.log", "prn",
    "x.airgap-part", "x" * 201, "a/" * 9 + "b", "a/" * 199 + "bc",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD, ids=range(len(GOOD)))
def test_a_plain_name_is_taken(name):
    assert check_file_name(name, "x") == name


@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
def test_a_name_that_is_not_plain_on_every_system_is_refused(name):
    with pytest.raises(FormatError):
        check_file_name(name, "x")
    with pytest.raises(FormatError):
        read(artifact_manifest([carried(name)]))
    with pytest.raises(FormatError):
        CarriedFile.from_json(Fields(carried(name).to_json(), "statement"))


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a"), ("a/b", "A"), ("a", "a/b/c"), ("A/b", "a/B")])
def test_names_that_no_folder_can_have_together_are_refused(names):
    with pytest.raises(AmbiguousError):
        check_file_names(names, "x")
    with pytest.raises(AmbiguousError):
        read(artifact_manifest([carried(name) for name in names]))


def test_names_may_share_folders_and_beginnings():
    check_file_names(["a/b", "a/c", "ab", "a.b", "b/a"], "x")


def changed(**values: Any) -> dict[str, Any]:
    """The manifest of one file as a value, with these keys changed; None removes one."""
    value = json.loads(artifact_manifest([carried("a")]))
    value |= values
    return {key: item for key, item in value.items() if item is not None}


LAYER = changed()["layers"][0]
NOTES = LAYER["annotations"]
SHA512 = str(Digest.of(b"a", "sha512"))
WRONG = {
    "a subject": changed(subject={"mediaType": OCI_MANIFEST, "digest": LAYER["digest"], "size": 1}),
    "annotations": changed(annotations={"a": "b"}),
    "no media type": changed(mediaType=None),
    "another config": changed(config=changed()["config"] | {"mediaType": "application/json"}),
    "no files": changed(layers=[]),
    "no title": changed(layers=[LAYER | {"annotations": {}}]),
    "no mode": changed(layers=[LAYER | {"annotations": NOTES | {"vnd.airgap.file.mode": "0"}}]),
    "set user id": changed(layers=[LAYER | {"annotations": NOTES | {"vnd.airgap.file.mode": "4755"}}]),
    "more notes": changed(layers=[LAYER | {"annotations": NOTES | {"io.deis.oras.content.unpack": "true"}}]),
    "another type": changed(layers=[LAYER | {"mediaType": "application/gzip"}]),
    "SHA-512": changed(layers=[LAYER | {"digest": SHA512}]),
    "not sorted": changed(layers=json.loads(artifact_manifest([carried("a"), carried("b")]))["layers"][::-1]),
    "too many": changed(layers=[LAYER] * (MAX_ARTIFACT_FILES + 1)),
}


@pytest.mark.parametrize("case", WRONG)
def test_any_other_form_is_refused(case):
    with pytest.raises(FormatError):
        read(json.dumps(WRONG[case], separators=(",", ":")).encode())


def test_spaces_are_another_form():
    with pytest.raises(AmbiguousError):
        read(json.dumps(changed()).encode())


def test_another_artifact_has_no_files():
    assert read(json.dumps(changed(artifactType="application/vnd.example")).encode()) == ()
    assert FILES_ARTIFACT in json.dumps(changed())


@settings(max_examples=30)
@given(
    st.sets(st.from_regex(r"[a-z0-9_][A-Za-z0-9._+ -]{0,8}[a-z0-9]", fullmatch=True), min_size=1, max_size=5)
)
def test_what_is_written_is_read(names):
    folded = {name.casefold(): name for name in names}
    files = [
        carried(name)
        for name in folded.values()
        if name[:3] not in ("con", "prn", "aux", "nul", "com", "lpt")
    ]
    if files:
        assert read(artifact_manifest(files)) == tuple(sorted(files, key=lambda item: item.name))
        assert [CarriedFile.from_json(Fields(item.to_json(), "x")) for item in files] == files
