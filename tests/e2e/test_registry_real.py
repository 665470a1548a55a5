"""The registry client on Debian's docker-registry: plain, with a login, over TLS, and over bad lines."""

import io
import json
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry, RegistryOptions, referrers
from airgap.errors import AccessDeniedError, DigestMismatchError, EndpointError
from airgap.oci.digest import ByteStream, CheckedReader, Digest, copy
from airgap.oci.documents import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image, make_index, noise, simple_image
from tests.support.line import Cut, Line
from tests.support.registries import RealRegistry

BIG = noise(12_000_000, 11)
BLOB = Descriptor(OCI_LAYER_GZIP, Digest.of(BIG), len(BIG))
CHUNK = 4 << 20
IMAGE = simple_image("real")
INDEX = make_index([IMAGE, simple_image("arm", platform="linux/arm64")])
SBOM = "application/vnd.example.sbom"


class Login:
    def __init__(self, user: str, password: str) -> None:
        self._login = Credentials(user, password)

    def get(self, host: str) -> Credentials:
        return self._login


def client(server: RealRegistry, host: str | None = None, **options: object) -> Registry:
    """A client that may do what `server` asks for, by way of `host`."""
    base = RegistryOptions(
        credentials=Login(server.user, server.password), ca_file=server.ca_file,
        sleep=lambda _: None, **options,
    )  # fmt: skip
    return Registry(host or server.host, options=base)


def named(text: str = "acme/api:1.0") -> ImageReference:
    return ImageReference.parse(f"registry.example/{text}")


@pytest.fixture(params=["registry", "auth_registry", "tls_registry"])
def server(request: pytest.FixtureRequest) -> RealRegistry:
    """Each kind in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def line(server: RealRegistry) -> Iterator[Line]:
    with Line(server.host) as line:
        yield line


class Opener:
    """Opens the big blob, and notes where."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def __call__(self, offset: int) -> ByteStream:
        self.offsets.append(offset)
        stream = CheckedReader(io.BytesIO(BIG), BLOB.digest, BLOB.size)
        stream.read(offset)
        return stream


def read(registry: Registry, blob: Descriptor = BLOB) -> bytes:
    out = bytearray()
    stream = registry.open_blob(named(), blob)
    with closing(CheckedReader(stream, blob.digest, blob.size)) as reader:
        copy(reader, out.extend)
    return bytes(out)


def push(registry: Registry, image: Image, reference: ImageReference) -> None:
    documents = [raw for raw in image.contents.values() if b'"schemaVersion"' in raw]
    for digest, raw in image.contents.items():
        if raw not in documents:
            registry.put_blob(reference, Descriptor(OCI_LAYER_GZIP, digest, len(raw)), io.BytesIO(raw))
    for raw in sorted(documents, key=lambda raw: b'"manifests"' in raw):
        descriptor = Descriptor(json.loads(raw)["mediaType"], Digest.of(raw), len(raw))
        registry.put_document(reference, descriptor, raw)
    registry.tag(reference, image.descriptor, image.raw)


def test_there_and_back(server: RealRegistry, monkeypatch: pytest.MonkeyPatch):
    registry = client(server)
    push(registry, INDEX, named())
    push(registry, IMAGE, named("acme/api:2.0"))
    assert registry.find(named()) == registry.resolve(named()).digest == INDEX.descriptor.digest
    assert registry.read_document(named(), IMAGE.descriptor) == IMAGE.raw
    for digest in (IMAGE.config, *IMAGE.layers):
        assert digest is not None
        raw = IMAGE.contents[digest]
        assert read(registry, Descriptor("x", digest, len(raw))) == raw
    assert sorted(registry.tags(named())) == ["1.0", "2.0"]
    monkeypatch.setattr(referrers, "_TAGS_PER_PAGE", 1)
    assert sorted(registry.tags(named())) == ["1.0", "2.0"]
    push(registry, IMAGE, named("acme/other:1.0"))  # this registry has pages of repositories, not of tags
    shown = sorted(image.shown for image in registry.present())
    assert shown == ["acme/api:1.0", "acme/api:2.0", "acme/other:1.0"]
    assert "_catalog?last=acme%2Fapi&n=1" in server.log
    with pytest.raises(EndpointError, match="the registry does not remove tags"):
        registry.remove_name(named(), INDEX.descriptor.digest)
    assert registry.find(named()) == INDEX.descriptor.digest
    registry.close()


def test_a_wrong_password(auth_registry: RealRegistry):
    auth_registry.password = "wrong"
    with pytest.raises(AccessDeniedError):
        client(auth_registry).resolve(named())


def test_dockers_certificates(tls_registry: RealRegistry, tmp_path: Path):
    folder = tmp_path / "certs.d" / tls_registry.host
    folder.mkdir(parents=True)
    assert tls_registry.ca_file is not None
    (folder / "ca.crt").write_bytes(tls_registry.ca_file.read_bytes())
    tls_registry.ca_file = None
    push(client(tls_registry, certs_folder=folder.parent), IMAGE, named())
    with pytest.raises(EndpointError, match="TLS failed"):
        client(tls_registry, plain_http=False).resolve(named())


def test_a_download_goes_on_over_a_broken_line(server: RealRegistry, line: Line):
    client(server).put_blob(named(), BLOB, io.BytesIO(BIG))
    start = b"\x16" if server.ca_file else b"GET /v2/acme/api/blobs/"
    line.cuts = [Cut(start, down=n) for n in (5_000_000, 100_000, 3_000_000)]
    assert read(client(server, line.host)) == BIG
    assert not line.cuts
    assert len(BIG) <= line.carried < len(BIG) + 1_000_000


def test_a_large_blob_comes_in_pieces_over_a_broken_line(server: RealRegistry, line: Line):
    client(server).put_blob(named(), BLOB, io.BytesIO(BIG))
    start = b"\x16" if server.ca_file else b"GET /v2/acme/api/blobs/"
    line.cuts = [Cut(start, down=n) for n in (700_000, 100_000, 300_000)]
    assert read(client(server, line.host, piece_size=1 << 20, fast_rate=math.inf)) == BIG
    assert not line.cuts
    assert len(BIG) <= line.carried < len(BIG) + 1_000_000
    assert server.log.count('" 206 ') >= 12


def test_an_upload_is_begun_anew_after_a_broken_line(server: RealRegistry, line: Line):
    """docker-registry gives an upload up whose connection broke in the middle of a request."""
    start = b"\x16" if server.ca_file else b"PUT "
    line.cuts = [Cut(start, up=5_000_000)]
    opener = Opener()
    client(server, line.host).upload(named(), BLOB, opener)
    assert not line.cuts
    assert opener.offsets == [0, 0]
    assert read(client(server)) == BIG


def test_an_upload_goes_on_after_the_last_whole_chunk(registry: RealRegistry):
    with Line(registry.host, Cut(b"PATCH "), Cut(b"PATCH "), Cut(b"PATCH ", up=1)) as line:
        opener = Opener()
        client(registry, line.host, upload_chunk=CHUNK).upload(named(), BLOB, opener)
        methods = [request.partition(" ")[0] for request in line.requests]
    assert methods == ["POST", "PATCH", "PATCH", "PATCH", "GET", "PATCH", "PUT"]
    assert opener.offsets == [0, 2 * CHUNK]
    assert read(client(registry)) == BIG


def test_chunks(server: RealRegistry):
    client(server, upload_chunk=CHUNK).put_blob(named(), BLOB, io.BytesIO(BIG))
    assert server.log.count('"PATCH ') == 3
    assert read(client(server)) == BIG


def test_another_repository_gets_the_blob_without_its_bytes(server: RealRegistry):
    registry = client(server)
    registry.put_blob(named(), BLOB, io.BytesIO(BIG))
    registry.put_blob(named("acme/web:1.0"), BLOB, io.BytesIO(b"not read"))
    assert registry.mount(named("acme/third:1.0"), BLOB, named())
    for name in ("acme/web:1.0", "acme/third:1.0"):
        assert registry.holds(named(name), BLOB)
    assert server.log.count('"PUT ') == 1
    nothing = Descriptor("x", Digest.of(b"nothing"), 7)
    assert not registry.mount(named("acme/web:1.0"), nothing, named())


def test_wrong_content_is_refused_by_the_registry_too(registry: RealRegistry):
    with pytest.raises(EndpointError, match="DIGEST_INVALID"):
        client(registry).upload(named(), BLOB, lambda _: io.BytesIO(bytes(BLOB.size)))
    checked = CheckedReader(io.BytesIO(bytes(BLOB.size)), BLOB.digest, BLOB.size)
    with pytest.raises(DigestMismatchError):
        client(registry).upload(named(), BLOB, lambda _: checked)
    assert not client(registry).holds(named(), BLOB)


def test_a_mirror_helps_out_and_is_helped(registry: RealRegistry, auth_registry: RealRegistry):
    """The mirror breaks in the middle; the registry itself goes on."""
    near, home = registry, auth_registry
    for server in (near, home):
        client(server).put_blob(named(), BLOB, io.BytesIO(BIG))
    with Line(near.host, Cut(b"GET ", down=5_000_000)) as first, Line(home.host) as last:
        mirrored = client(home, last.host, mirrors=(first.host,), retries=0)
        assert read(mirrored) == BIG
        assert len(first.requests) == 1
        assert len(BIG) - 5_000_000 <= last.carried < len(BIG) - 4_000_000


def sbom(number: int) -> tuple[Descriptor, bytes]:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SBOM,
        "config": config,
        "layers": [config],
        "subject": {k: v for k, v in IMAGE.descriptor.to_json().items() if k != "platform"},
        "annotations": {"org.example.number": str(number)},
    }
    raw = json.dumps(manifest).encode()
    return Descriptor(
        OCI_MANIFEST,
        Digest.of(raw),
        len(raw),
        platform=None,
        annotations=manifest["annotations"],
        artifact_type=SBOM,
    ), raw


def test_oras_finds_our_referrers(registry: RealRegistry, sid):
    ours = client(registry)
    push(ours, IMAGE, named())
    ours.put_blob(named(), Descriptor("x", Digest.of(b"{}"), 2), io.BytesIO(b"{}"))
    for number in (1, 2):
        ours.put_referrer(named(), IMAGE.descriptor.digest, *sbom(number))
    assert ours.referrers(named(), IMAGE.descriptor.digest) == [sbom(1)[0], sbom(2)[0]]
    subject = f"{registry.host}/acme/api@{IMAGE.descriptor.digest}"
    found = json.loads(sid("oras", "discover", "--plain-http", "--format", "json", subject).stdout)
    listed = found.get("referrers") or found["manifests"]
    assert {entry["digest"] for entry in listed} == {str(sbom(n)[0].digest) for n in (1, 2)}
    assert {entry["artifactType"] for entry in listed} == {SBOM}


def test_we_find_what_oras_attached(registry: RealRegistry, sid, tmp_path: Path):
    ours = client(registry)
    push(ours, IMAGE, named())
    ours.put_blob(named(), Descriptor("x", Digest.of(b"{}"), 2), io.BytesIO(b"{}"))
    ours.put_referrer(named(), IMAGE.descriptor.digest, *sbom(1))
    (tmp_path / "sbom.json").write_text("{}")
    sid(
        "oras", "attach", "--plain-http", "--disable-path-validation", "--artifact-type", SBOM,
        f"{registry.host}/acme/api@{IMAGE.descriptor.digest}", f"{tmp_path}/sbom.json:text/json",
    )  # fmt: skip
    found = ours.referrers(named(), IMAGE.descriptor.digest)
    assert len(found) == 2
    assert {entry.artifact_type for entry in found} == {SBOM}
    assert all(ours.read_document(named(), entry) for entry in found)
