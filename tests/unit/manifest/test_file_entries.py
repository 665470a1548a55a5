"""The items of `files`."""

from pathlib import Path

import pytest

from airgap.errors import FormatError
from airgap.manifest import Lock, LockedFile, LockedImage, TransferManifest
from airgap.manifest.file_entries import FolderFiles, LocalFile, WebFile
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile, FileMode
from airgap.oci.reference import ImageReference

HEAD = "version: 1\nname: edge\n"
SUM = "0" * 64
URL = "https://files.example/k3s"


def parse(text: str) -> TransferManifest:
    """The manifest with these lines after its head, in /m."""
    return TransferManifest.parse((HEAD + text).encode(), Path("/m/edge.yaml"))


def items(*lines: str) -> str:
    return "files:\n" + "".join(f"  - {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("item", "origin", "name", "artifact"),
    [
        ("./bin/k3s", LocalFile(Path("/m/bin/k3s")), "k3s", "k3s"),
        ("{path: /opt/Big Tool (2).run}", LocalFile(Path("/opt/Big Tool (2).run")), "Big Tool (2).run", "big-tool-2.run"),
        ("{path: a.yaml, name: conf/b.yaml}", LocalFile(Path("/m/a.yaml")), "conf/b.yaml", "b.yaml"),
        (f'{{url: "{URL}", sha256: "{SUM}"}}', WebFile(URL, SUM), "k3s", "k3s"),
        (f'{{url: "{URL}%2B1?x=/y", sha256: "{SUM}"}}', WebFile(f"{URL}%2B1?x=/y", SUM), "k3s+1", "k3s-1"),
        ("{folder: conf}", FolderFiles(Path("/m/conf"), "*"), None, "conf"),
        ('{folder: ., match: "**/*.yaml"}', FolderFiles(Path("/m"), "**/*.yaml"), None, "m"),
        ("._x", LocalFile(Path("/m/._x")), "._x", "x"),
        ("__", LocalFile(Path("/m/__")), "__", "files"),
    ],
)  # fmt: skip
def test_an_item_has_an_origin_and_a_name(item, origin, name, artifact):
    entry = parse(items(item)).files[0]
    assert (entry.origin, entry.name, entry.mode) == (origin, name, None)
    assert str(entry.artifact) == f"airgap.internal/edge/{artifact}:latest"


def test_an_item_states_its_artifact_and_its_mode():
    entry = parse(items('{path: k3s, as: "registry.example/bin/k3s:1.30", mode: "0755"}')).files[0]
    assert str(entry.artifact) == "registry.example/bin/k3s:1.30"
    assert entry.mode is FileMode.PROGRAM


BAD = {
    "nothing": ("files: []\n", "missing key: m:1:1, want 'images'"),
    "no list": ("files: k3s\n", "wrong type: m:3:8, want a list, got 'k3s'"),
    "neither": (items("[a]"), "wrong type: m:4:5, want a path or a mapping, got a list"),
    "no origin": (items("{name: x}"), "missing key: m:4:5, want 'path'"),
    "two origins": (items(f"{{path: a, url: 'https://a/b', sha256: '{SUM}'}}"), "unknown key: m:4:6"),
    "no sum": (items("{url: 'https://a/b'}"), "missing key: m:4:5, want 'sha256'"),
    "short sum": (items("{url: 'https://a/b', sha256: abc}"), "not a SHA-256: m:4:"),
    "file address": (items(f"{{url: 'file:///etc/passwd', sha256: '{SUM}'}}"), "not an address: m:4:11"),
    "login": (items(f"{{url: 'https://u:secret@a/b', sha256: '{SUM}'}}"), "a password or token in the file: m:4"),
    "no name": (items(f"{{url: 'https://a/', sha256: '{SUM}'}}"), "not the name of a file that can be carried: m:4:5"),
    "parent": (items("{path: a, name: ../a}"), "not the name of a file that can be carried: m:4:"),
    "absolute": (items("{path: a, name: /a}"), "not the name of a file that can be carried: m:4:"),
    "own name": (items("aé"), "not the name of a file that can be carried: m:4:5"),
    "mode": (items("{path: a, mode: '4755'}"), "not a mode: m:4:"),
    "number as mode": (items("{path: a, mode: 493}"), "not a mode: m:4:"),
    "pattern": (items("{folder: a, match: ../b}"), "not a pattern: m:4:"),
    "digest in as": (items(f"{{path: a, as: 'x@sha256:{SUM}'}}"), "an offline name must not have a digest: m:4:"),
    "twins": (items("./a", "./b/a"), "two artifacts or images would have the same name offline: m:5:5"),
    "an image's name": ("images: [{ref: a, as: 'x/y:1'}]\n" + items("{path: a, as: 'x/y:1'}"),
                        "two artifacts or images would have the same name offline: m:5:5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_item_is_refused_at_its_place(case):
    text, message = BAD[case]
    with pytest.raises(FormatError) as caught:
        TransferManifest.parse((HEAD + text).encode(), Path("m"))
    assert message in str(caught.value)


def test_a_manifest_of_files_alone_needs_no_images():
    assert parse(items("a")).images == ()


def test_a_lock_fits_until_the_items_change():
    plain, same = parse("images: [a]\n" + items("k3s")), parse("images: [a]\n" + items("{path: ./k3s}"))
    assert plain.images_sha256 == same.images_sha256
    other = parse("images: [a]\n" + items('{path: k3s, mode: "0755"}'))
    assert len({plain.images_sha256, other.images_sha256, parse("images: [a]\n").images_sha256}) == 3


def locked(name: str, *, url: str | None = None) -> LockedFile:
    carried = CarriedFile(name=name, mode=FileMode.PROGRAM, digest=Digest.of(name.encode()), size=len(name))
    return LockedFile(carried=carried, path=None if url else Path("/m") / name, url=url)


def test_a_lock_keeps_files():
    artifact = LockedImage.of_files(ImageReference.parse("x/y:1"), [locked("a"), locked("b/c", url=URL)])
    lock = Lock("edge", SUM, (artifact,))
    raw = lock.to_bytes(Path("/m"))
    assert b"path: a\n" in raw
    assert Lock.parse(raw, Path("/m/edge.lock.yaml")) == lock


CONFIG = '{"name":"demo","version":"1.0.0"}'


def test_a_lock_keeps_a_chart():
    archive = locked("demo-1.0.0.tgz", url=URL)
    lock = Lock("edge", SUM, (LockedImage.of_chart(ImageReference.parse("x/demo:1.0.0"), archive, CONFIG),))
    again = Lock.parse(lock.to_bytes(Path("/m")), Path("/m/edge.lock.yaml"))
    assert again == lock
    assert again.images[0].made_config == CONFIG.encode()
    assert lock != Lock.parse(lock.to_bytes(Path("/m")).replace(b'demo",', b'other",'), Path("/m/l"))


def test_charts_have_origins_and_names():
    charts = "charts: [{repo: 'https://x/y/', chart: demo, version: 1.2.3+b}, {chart: 'oci://r.example:5000/c/demo', version: 1.2.3+b}]\n"
    found = parse(charts)
    assert [(chart.repo, str(chart.artifact)) for chart in found.charts] == [
        ("https://x/y/", "airgap.internal/charts/demo:1.2.3_b")
    ]
    assert [str(image.name) for image in found.images] == ["r.example:5000/c/demo:1.2.3_b"]
    assert found.images[0].platforms == ()
    with pytest.raises(FormatError) as caught:
        parse(charts + "images: ['r.example:5000/c/demo:1.2.3_b']\n")
    assert "two images would have the same name offline: /m/edge.yaml:3:" in str(caught.value)


LOCK = f"version: 1\nname: e\nmanifest_sha256: '{SUM}'\nfiles:\n- as: x/y:1\n  files:\n"
FILE = f"name: a, path: a, mode: '0644', sha256: '{SUM}', size: 1"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("   []\n", "wrong type: l"),
        (f"  - {{{FILE}, url: 'https://a/b'}}\n", "a locked file needs one origin"),
        (f"  - {{{FILE.replace('path: a, ', '')}}}\n", "a locked file needs one origin"),
        (f"  - {{{FILE}}}\n  - {{{FILE.replace('name: a', 'name: A')}}}\n", "two files have the same name"),
        (f"  - {{{FILE.replace('name: a', 'name: ../a')}}}\n", "not the name of a file that can be carried"),
        (f"  - {{{FILE.replace('size: 1', 'size: -1')}}}\n", "not a size"),
    ],
    ids=["empty", "two origins", "no origin", "twins", "parent", "size"],
)
def test_a_bad_lock_is_refused(lines, message):
    with pytest.raises(FormatError) as caught:
        Lock.parse((LOCK + lines).encode(), Path("l"))
    assert message in str(caught.value)
