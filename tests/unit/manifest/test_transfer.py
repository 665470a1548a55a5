"""The manifest: every form of entry, and every mistake with its file, line, finding and expectation."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.manifest import ImageEntry, TransferManifest, offline_name
from airgap.oci.digest import Digest
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

D0 = "sha256:" + "0" * 64
D1 = "sha256:" + "1" * 64
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
HEAD = "version: 1\nname: edge-stack\n"
FULL = f"""\
version: 1
name: edge-stack                 # the stream
destinations: [plant-7, plant-8]
platforms: [linux/amd64]
transfer:
  ticket: 4711
  approver: Zoë
images:
  - nginx:1.27
  - ref: ghcr.io/acme/api:2.3
    digest: {D0}
    platforms: [linux/amd64, linux/arm64/v8]
    as: registry.plant7.local/acme/api:2.3
    cosign-key: keys/acme.pub
  - ref: acme/built-here:dev
    source: docker
  - archive: vendor/app.tar
  - {{archive: /srv/two.tar, ref: two:1, platforms: []}}
  - oci: ../layout
    as: three:1
  - redis@{D1}
"""


def manifest(text, path=Path("/m/stack.yaml")):
    return TransferManifest.parse(text.encode(), path)


def ref(text):
    return ImageReference.parse(text)


def test_whether_attachments_are_asked_for():
    def chosen(head, *entries):
        text = f"version: 1\nname: a\n{head}images:\n" + "".join(f"  - {each}\n" for each in entries)
        return [entry.attachments for entry in manifest(text).images]

    entries = (
        "a",
        "{ref: b, attachments: required}",
        "{ref: c, attachments: none}",
        "{ref: d, cosign-key: k}",
    )
    assert chosen("", *entries) == ["auto", "required", "none", "auto"]
    assert chosen("attachments: required\n", *entries) == ["required", "required", "none", "required"]
    assert chosen("attachments: none\n", *entries) == ["none", "required", "none", "auto"]
    assert chosen("attachments: none\n", "{archive: a.tar, attachments: auto}") == ["auto"]


def test_a_manifest_with_every_form(tmp_path):
    path = tmp_path / "stack.yaml"
    path.write_text(FULL)
    found = TransferManifest.load(path)
    assert (found.name, found.destinations, found.platforms) == (
        "edge-stack",
        ("plant-7", "plant-8"),
        (AMD64,),
    )
    assert found.transfer == {"ticket": "4711", "approver": "Zoë"}
    assert (found.raw, found.path) == (FULL.encode(), path)
    assert found.sha256 == Digest.of(FULL.encode()).hex
    assert found.images == (
        ImageEntry(reference=ref("nginx:1.27"), digest=None, platforms=(AMD64,), rename=None, source="registry", archive=None, cosign_key=None, line=9),
        ImageEntry(
            reference=ref("ghcr.io/acme/api:2.3"), digest=Digest.parse(D0), platforms=(AMD64, ARM64),
            rename=ref("registry.plant7.local/acme/api:2.3"), source="registry", archive=None, cosign_key=tmp_path / "keys/acme.pub", line=10,
        ),
        ImageEntry(reference=ref("acme/built-here:dev"), digest=None, platforms=(AMD64,), rename=None, source="docker", archive=None, cosign_key=None, line=15),
        ImageEntry(reference=None, digest=None, platforms=(AMD64,), rename=None, source="archive", archive=tmp_path / "vendor/app.tar", cosign_key=None, line=17),
        ImageEntry(reference=ref("two:1"), digest=None, platforms=(), rename=None, source="archive", archive=Path("/srv/two.tar"), cosign_key=None, line=18),
        ImageEntry(reference=None, digest=None, platforms=(AMD64,), rename=ref("three:1"), source="oci", archive=tmp_path / "../layout", cosign_key=None, line=19),
        ImageEntry(reference=ref(f"redis@{D1}"), digest=Digest.parse(D1), platforms=(AMD64,), rename=None, source="registry", archive=None, cosign_key=None, line=21),
    )  # fmt: skip


def test_names_on_the_offline_side():
    names = [entry.name for entry in manifest(FULL).images]
    assert [str(name) if name else None for name in names] == [
        "docker.io/library/nginx:1.27",
        "registry.plant7.local/acme/api:2.3",
        "docker.io/acme/built-here:dev",
        None,
        "docker.io/library/two:1",
        "docker.io/library/three:1",
        f"docker.io/library/redis@{D1}",
    ]
    assert str(offline_name(ref(f"nginx:1.27@{D0}"))) == "docker.io/library/nginx:1.27"


def test_the_least_manifest():
    found = manifest("version: '1'\nname: a\nimages: [nginx]\n")
    assert (found.destinations, found.platforms, found.transfer) == ((), None, {})
    assert found.images[0].platforms is None
    assert str(found.images[0].reference) == "docker.io/library/nginx:latest"


def test_the_name_and_the_tag_stay_text():
    found = manifest("version: 1\nname: 2024\nimages: [python:1.10, {ref: no:1.20}]\n")
    assert found.name == "2024"
    assert [entry.reference.tag for entry in found.images] == ["1.10", "1.20"]


@pytest.mark.parametrize(
    "source",
    [
        "registry",
        "docker",
        "docker:unix:///run/user/1000/docker.sock",
        "docker:ssh://build-1",
        "docker:ssh://alice@build.example:2222",
        "docker:ssh://alice@[fd00::1]:22",
    ],
)
def test_sources(source):
    found = manifest(f"{HEAD}images: [{{ref: a:1, source: '{source}'}}]\n")
    assert found.images[0].source == source


@pytest.mark.parametrize(
    ("entry", "digest"),
    [
        (f"a:1@{D0}", D0),
        (f"{{ref: 'a:1@{D0}'}}", D0),
        (f"{{ref: 'a:1@{D0}', digest: {D0}}}", D0),
        (f"{{ref: a:1, digest: {D0}}}", D0),
        ("a:1", None),
    ],
)
def test_a_digest_stands_in_the_reference_or_beside_it(entry, digest):
    assert manifest(f"{HEAD}images: [{entry}]\n").images[0].digest == (digest and Digest.parse(digest))


def test_paths_start_at_the_manifests_folder(monkeypatch, tmp_path):
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/a.yaml").write_text(f"{HEAD}images: [archive: v/x.tar, oci: /abs]\n")
    monkeypatch.chdir(tmp_path)
    found = TransferManifest.load(Path("stacks/a.yaml"))
    assert [entry.archive for entry in found.images] == [tmp_path / "stacks/v/x.tar", Path("/abs")]


def test_repeated_entries_count_once():
    found = manifest(
        f"{HEAD}images: [nginx, archive: a.tar, docker.io/library/nginx:latest, archive: a.tar]\n"
    )
    assert [(entry.source, entry.line) for entry in found.images] == [("registry", 3), ("archive", 3)]


def test_the_same_image_under_two_names_is_fine():
    assert (
        len(manifest(f"{HEAD}images: [nginx, {{ref: nginx, as: web}}, {{ref: nginx, as: web:2}}]\n").images)
        == 3
    )


def entry(text):
    """A manifest whose third line begins the list of images, of which the first is `text`."""
    return f"{HEAD}images:\n  - {text}\n"


KEYS = "version, name, destinations, platforms, attachments, transfer, images, files, charts"
NAMED = "ref, digest, platforms, as, cosign-key, cosign-identity, attachments, source"
BAD = {
    # structure
    "empty": ("", "empty document: m.yaml:1:1, want a mapping", ""),
    "a list": ("- nginx\n", "wrong type: m.yaml:1:1, want a mapping, got a list", ""),
    "text": ("nginx\n", "wrong type: m.yaml:1:1, want a mapping, got 'nginx'", ""),
    "no version": ("name: a\nimages: [a]\n", "missing key: m.yaml:1:1, want 'version'", "write version: 1"),
    "no name": ("version: 1\nimages: [a]\n", "missing key: m.yaml:1:1, want 'name'", "write name: stack"),
    "no images": (HEAD, "missing key: m.yaml:1:1, want 'images'", "- nginx:1.27` for each image"),
    "misspelt images": (f"{HEAD}imges: [a]\n", f"unknown key: m.yaml:3:1, want one of {KEYS}, got 'imges'", "did you mean 'images'?"),
    "misspelt platforms": (f"{HEAD}platform: [a]\nimages: [a]", "unknown key: m.yaml:3:1", "did you mean 'platforms'?"),
    "far from any key": (f"{HEAD}xyz: [a]\nimages: [a]", f"unknown key: m.yaml:3:1, want one of {KEYS}, got 'xyz'", ""),
    "duplicate key": (f"{HEAD}images: [a]\nname: b\n", "duplicate key: m.yaml:4:1, got 'name', as on line 2", ""),
    "anchor": (f"{HEAD}images: [&a a]\n", "YAML anchors and aliases are not allowed: m.yaml:3:10, got &a", "write the value out"),
    "the first mistake counts": ("version: 2\nname: B\nimages: [A]\n", "m.yaml:1:10", "newer airgap"),
    # version, name, destinations, platforms, transfer
    "version 2": ("version: 2\nname: a\nimages: [a]\n", "unsupported version: m.yaml:1:10, want 1, got '2'", "newer airgap"),
    "version 1.0": ("version: 1.0\nname: a\nimages: [a]\n", "unsupported version: m.yaml:1:10, want 1, got '1.0'", ""),
    "version missing": ("version:\nname: a\nimages: [a]\n", "wrong type: m.yaml:1:9, want text, got nothing", ""),
    "upper-case name": ("version: 1\nname: Edge\nimages: [a]\n", "not a name: m.yaml:2:7, want lower-case letters, digits and dashes, at most 63, got 'Edge'", ""),
    "name with a slash": ("version: 1\nname: a/b\nimages: [a]\n", "not a name: m.yaml:2:7", ""),
    "name with dots": ("version: 1\nname: ..\nimages: [a]\n", "not a name: m.yaml:2:7", ""),
    "name from a dash": ("version: 1\nname: -a\nimages: [a]\n", "not a name: m.yaml:2:7", ""),
    "name of 64": (f"version: 1\nname: {'a' * 64}\nimages: [a]\n", "not a name: m.yaml:2:7", ""),
    "name with a line end": ('version: 1\nname: "a\\n"\nimages: [a]\n', r"not a name: m.yaml:2:7, want lower-case letters, digits and dashes, at most 63, got 'a\n'", ""),
    "name with other digits": ("version: 1\nname: a٣\nimages: [a]\n", "not a name: m.yaml:2:7", ""),
    "name is a list": ("version: 1\nname: [a]\nimages: [a]\n", "wrong type: m.yaml:2:7, want text, got a list", ""),
    "destinations are text": (f"{HEAD}destinations: plant-7\nimages: [a]\n", "wrong type: m.yaml:3:15, want a list, got 'plant-7'", "write it as a list: destinations: [plant-7]"),
    "no destinations": (f"{HEAD}destinations: []\nimages: [a]\n", "wrong type: m.yaml:3:15, want at least one, got a list", ""),
    "bad destination": (f"{HEAD}destinations: [plant-7, Plant 8]\nimages: [a]\n", "not a name: m.yaml:3:25", "") ,
    "destination twice": (f"{HEAD}destinations: [a, b, a]\nimages: [a]\n", "listed twice: m.yaml:3:15, got 'a'", ""),
    "platforms are no platform": (f"{HEAD}platforms: amd64\nimages: [a]\n", "not a platform: m.yaml:3:12, want os/architecture[/variant], such as linux/amd64, got 'amd64'", "did you mean 'linux/amd64'?"),
    "platforms are a mapping": (f"{HEAD}platforms: {{linux: amd64}}\nimages: [a]\n", "wrong type: m.yaml:3:12, want a list, got a mapping", "begin each with a dash: `- linux`"),
    "all and others": (f"{HEAD}platforms: [all, linux/amd64]\nimages: [a]\n", "'all' cannot be combined with platforms: m.yaml:3:12, want `platforms: all`, or a list of platforms", ""),
    "platforms missing": (f"{HEAD}platforms:\nimages: [a]\n", "wrong type: m.yaml:3:11, want a list, got nothing", ""),
    "bad platform": (f"{HEAD}platforms:\n  - linux/amd64\n  - linux\nimages: [a]\n", "not a platform: m.yaml:5:5, want os/architecture[/variant], such as linux/amd64, got 'linux'", "did you mean 'linux/amd64'?"),
    "platform is a mapping": (f"{HEAD}platforms: [os: linux]\nimages: [a]\n", "wrong type: m.yaml:3:13, want text, got a mapping", ""),
    "platform twice": (f"{HEAD}platforms: [linux/arm64, linux/aarch64]\nimages: [a]\n", "listed twice: m.yaml:3:12, got 'linux/arm64'", ""),
    "transfer is a list": (f"{HEAD}transfer: [a]\nimages: [a]\n", "wrong type: m.yaml:3:11, want a mapping, got a list", ""),
    "transfer key": (f"{HEAD}transfer:\n  Ticket No: 1\nimages: [a]\n", "not a key: m.yaml:4:3, want lower-case letters", ""),
    "transfer key in brackets": (f"{HEAD}transfer: {{'[key]': a}}\nimages: [a]\n", "not a key: m.yaml:3:12, want lower-case letters", ""),
    "key in brackets": (f"{HEAD}'[key]': a\nimages: [a]\n", "unknown key: m.yaml:3:1", ""),
    "entry key in brackets": (entry("ref: a\n    '[key]': a"), "unknown key: m.yaml:5:5", ""),
    "transfer value is a list": (f"{HEAD}transfer:\n  ticket: [1]\nimages: [a]\n", "wrong type: m.yaml:4:11, want text, got a list", ""),
    "transfer value empty": (f"{HEAD}transfer:\n  ticket:\nimages: [a]\n", "wrong type: m.yaml:4:10, want text, got nothing", ""),
    "transfer value of two lines": (f"{HEAD}transfer:\n  ticket: |\n    a\n    b\nimages: [a]\n", r"not a plain line of text: m.yaml:4:11, want at most 1000 printable characters, got 'a\nb\n'", ""),
    "transfer value too long": (f"{HEAD}transfer: {{a: {'x' * 1001}}}\nimages: [a]\n", "not a plain line of text: m.yaml:3:15", ""),
    # images
    "images are text": (f"{HEAD}images: nginx\n", "wrong type: m.yaml:3:9, want a list, got 'nginx'", "write it as a list: images: [nginx]"),
    "images are a mapping": (f"{HEAD}images:\n  nginx:\n", "wrong type: m.yaml:4:3, want a list, got a mapping", "begin each with a dash: `- nginx`"),
    "no image": (f"{HEAD}images: []\n", "wrong type: m.yaml:3:9, want at least one, got a list", ""),
    "entry is a list": (entry("[nginx]"), "wrong type: m.yaml:4:5, want an image reference or a mapping, got a list", ""),
    "entry is nothing": (f"{HEAD}images:\n  - a\n  -\n", "wrong type: m.yaml:5:4, want text, got nothing", ""),
    "empty mapping": (entry("{}"), "missing key: m.yaml:4:5, want 'ref'", "write ref: nginx:1.27"),
    "space after the colon": (entry("nginx: 1.27"), f"unknown key: m.yaml:4:5, want one of {NAMED}, got 'nginx'", "write it without the space: nginx:1.27"),
    "a mapping in place of a name": (entry("nginx: {}"), "unknown key: m.yaml:4:5", ""),
    "image for ref": (entry("image: nginx\n    platforms: []"), f"unknown key: m.yaml:4:5, want one of {NAMED}, got 'image'", "write ref: nginx"),
    "misspelt entry key": (entry("ref: a\n    platfroms: []"), "unknown key: m.yaml:5:5", "did you mean 'platforms'?"),
    "underscore": (entry("ref: a\n    cosign_key: k"), "unknown key: m.yaml:5:5", "did you mean 'cosign-key'?"),
    "misspelt archive": (entry("arhcive: a.tar"), "unknown key: m.yaml:4:5", "did you mean 'archive'?"),
    "source of an archive": (entry("archive: a.tar\n    source: docker"), "unknown key: m.yaml:5:5, want one of ref, digest, platforms, as, cosign-key, cosign-identity, attachments, archive, got 'source'", "'source' belongs to another kind of entry"),
    "archive and layout": (entry("archive: a.tar\n    oci: dir"), "unknown key: m.yaml:5:5", "'oci' belongs to another kind of entry"),
    "empty archive": (entry("archive: ''"), "wrong type: m.yaml:4:14, want text, got nothing", ""),
    "archive is a list": (entry("archive: [a.tar]"), "wrong type: m.yaml:4:14, want text, got a list", ""),
    "layout is a mapping": (entry("oci: {dir: x}"), "wrong type: m.yaml:4:10, want text, got a mapping", ""),
    "upper-case repository": (entry("Nginx:1.27"), "not an image reference (repository names are lower-case): m.yaml:4:5, got 'Nginx:1.27'", ""),
    "bad tag": (entry("nginx:1 27"), "not an image reference (tag): m.yaml:4:5, got 'nginx:1 27'", ""),
    "scheme": (entry("docker://nginx:1.27"), "not an image reference (scheme): m.yaml:4:5, got 'docker://nginx:1.27'", "write it without: 'nginx:1.27'"),
    "reference too long": (entry("a" * 300), "not an image reference (name longer than 255): m.yaml:4:5, got 'aaa", ""),
    "traversal": (entry("ref: example.com/../etc"), "not an image reference (repository name): m.yaml:4:10", ""),
    "short digest in a name": (entry("nginx@sha256:abc"), "not a digest: m.yaml:4:5, want sha256:<64 lower-case hex digits>, got 'sha256:abc'", ""),
    "digest with a path": (entry("ref: a\n    digest: sha256:../../etc"), "not a digest: m.yaml:5:13", ""),
    "upper-case digest": (entry(f"ref: a\n    digest: {'sha256:' + 'A' * 64}"), "not a digest: m.yaml:5:13", ""),
    "md5": (entry(f"ref: a\n    digest: md5:{'0' * 32}"), "not a digest: m.yaml:5:13", ""),
    "two digests": (entry(f"ref: a@{D0}\n    digest: {D1}"), f"the digest differs from the one in 'ref': m.yaml:5:13, want {D0}, got {D1}", "leave out 'digest'"),
    "two digests in an archive": (entry(f"archive: x\n    ref: a@{D0}\n    digest: {D1}"), "the digest differs from the one in 'ref': m.yaml:6:13", "leave out 'digest'"),
    "rename with a digest": (entry(f"ref: a\n    as: b:1@{D0}"), "an offline name must not have a digest: m.yaml:5:9, want 'docker.io/library/b:1'", ""),
    "bad rename": (entry("ref: a\n    as: B"), "not an image reference (repository names are lower-case): m.yaml:5:9", ""),
    "bad entry platform": (entry("ref: a\n    platforms: [linux/amd64, Linux/arm64]"), "not a platform: m.yaml:5:30, want os/architecture[/variant], such as linux/amd64, got 'Linux/arm64'", "did you mean 'linux/arm64'?"),
    "entry platform twice": (entry("ref: a\n    platforms: [linux/amd64, linux/x86_64]"), "listed twice: m.yaml:5:16, got 'linux/amd64'", ""),
    "unknown source": (entry("ref: a\n    source: podman"), "not a source: m.yaml:5:13, want registry, docker, docker:unix:///SOCKET or docker:ssh://[USER@]HOST[:PORT], got 'podman'", ""),
    "source over TCP": (entry("ref: a\n    source: docker:tcp://h:2375"), "not a source: m.yaml:5:13", ""),
    "ssh option as host": (entry("ref: a\n    source: docker:ssh://-oProxyCommand=x"), "not a source: m.yaml:5:13", ""),
    "ssh option as user": (entry("ref: a\n    source: docker:ssh://-l@host"), "not a source: m.yaml:5:13", ""),
    "ssh with a password": (entry("ref: a\n    source: docker:ssh://u:pw@host"), "not a source: m.yaml:5:13", ""),
    "relative socket": (entry("ref: a\n    source: docker:unix://run/x"), "not a source: m.yaml:5:13", ""),
    "unknown choice": (f"{HEAD}attachments: yes\nimages: [a]", "not a choice: m.yaml:3:14, want auto, none or required, got 'yes'", ""),
    "key without attachments": (entry("ref: a\n    cosign-key: k\n    attachments: none"), "a cosign-key needs attachments: m.yaml:6:18, want auto or required, got 'none'", ""),
    "key is a list": (entry("ref: a\n    cosign-key: []"), "wrong type: m.yaml:5:17, want text, got a list", ""),
    "name twice": (entry("nginx:1.27\n  - ref: nginx:1.27\n    source: docker"), "two images would have the same name offline: m.yaml:5:5, got 'docker.io/library/nginx:1.27', as on line 4", "with 'as'"),
    "rename to another's name": (entry("a:1\n  - b:1\n  - {ref: c, as: a:1}"), "two images would have the same name offline: m.yaml:6:5, got 'docker.io/library/a:1', as on line 4", "with 'as'"),
    "one name, in capitals": (entry("ghcr.io/a:1\n  - {ref: b:1, as: GHCR.io/a:1}"), "two images would have the same name offline: m.yaml:5:5, got 'GHCR.io/a:1', as on line 4", "with 'as'"),
    "one name, with the port": (entry("ghcr.io/a:1\n  - {ref: b:1, as: 'ghcr.io:0443/a:1'}"), "two images would have the same name offline: m.yaml:5:5", "with 'as'"),
    "one name of Docker Hub": (entry("nginx\n  - {ref: b:1, as: index.docker.io/library/nginx}"), "two images would have the same name offline: m.yaml:5:5, got 'docker.io/library/nginx:latest', as on line 4", "with 'as'"),
    "rename to a passing name": (entry("ref: a\n    as: airgap.invalid/loading/1:x"), "airgap.invalid is reserved for temporary names while airgap loads images: m.yaml:5:9", ""),
    "one name, two digests": (entry(f"a:1@{D0}\n  - a:1@{D1}"), "two images would have the same name offline: m.yaml:5:5", "with 'as'"),
    "one name, other platforms": (entry("a:1\n  - {ref: a:1, platforms: [linux/arm64]}"), "two images would have the same name offline: m.yaml:5:5", "with 'as'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_every_mistake_is_answered_with_place_finding_and_expectation(case):
    text, message, hint = BAD[case]
    with pytest.raises(FormatError) as caught:
        manifest(text, Path("m.yaml"))
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")
    assert bool(hint) == (caught.value.hint is not None)
    assert caught.value.exit_code == 10


def test_messages_stay_short():
    with pytest.raises(FormatError) as caught:
        manifest(entry("a/" * 100_000 + "a"))
    assert len(str(caught.value)) < 400


def test_many_mistakes_are_answered_with_the_first_one():
    text = entry("ok") + "  - BAD\n" * 2_000
    with pytest.raises(FormatError, match=r"m\.yaml:5:5"):
        manifest(text, Path("m.yaml"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FormatError, match=r"no such file: .*absent\.yaml"):
        TransferManifest.load(tmp_path / "absent.yaml")


words = st.sampled_from(
    ["version", "name", "images", "platforms", "ref", "as", "archive", "oci", "digest", "source", "transfer"]
)
values = st.recursive(
    st.sampled_from(["1", "edge", "nginx:1", D0, "linux/amd64", "docker", ""]) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries({"version": st.just("1"), "name": st.just("a"), "images": st.lists(values)})
    | values
)
def test_any_document_gives_a_manifest_or_a_format_error_with_its_line(value):
    from airgap.manifest.strict_yaml import dump_yaml

    try:
        found = TransferManifest.parse(dump_yaml(value), Path("m.yaml"))
    except FormatError as error:
        assert str(error.subject).startswith("m.yaml:")  # noqa: PT017
    else:
        assert found.images


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_give_a_manifest_or_a_format_error(raw):
    with contextlib.suppress(FormatError):
        TransferManifest.parse(raw, Path("m.yaml"))
