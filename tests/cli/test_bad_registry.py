"""Registries that lie, break off, send elsewhere or want a login: what `pack` answers, end to end."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST
from tests.cli.conftest import Gap
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

API = simple_image("api")
[LAYER] = API.layers
CONFIG = API.config
BLOB = API.contents[LAYER]
NONE = f"sha256:{'0' * 64}"

Arrange = Callable[[FakeRegistry], object]


def fault(**rule: Any) -> Arrange:
    return lambda registry: registry.fault(**rule)


def layer(**rule: Any) -> Arrange:
    return fault(method="GET", path=f"/blobs/{LAYER}", **rule)


def tag(**rule: Any) -> Arrange:
    return fault(path="/manifests/1", **rule)


def image_manifest(change: Callable[[dict[str, Any]], object]) -> Arrange:
    """Serve, under the tag and its true digest, an image manifest that was changed."""
    value = json.loads(API.raw)
    change(value)
    return document(json.dumps(value).encode())


def document(raw: bytes, media_type: str = OCI_MANIFEST) -> Arrange:
    def arrange(registry: FakeRegistry) -> None:
        for name in ("1", str(Digest.of(raw))):
            registry.manifests["api", name] = (media_type, raw)

    return arrange


def one_layer(**fields: object) -> Arrange:
    return image_manifest(lambda value: value["layers"][0].update(fields))


def headers(**values: str | None) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in values.items()}


def bearer(registry: FakeRegistry, realm: str) -> None:
    registry.require_bearer({"alice": "secret"})
    registry.challenge = f'Bearer realm="{realm}",service="fake"'


def elsewhere(registry: FakeRegistry, location: str) -> None:
    layer(status=307, body=b"", headers=headers(location=location))(registry)


BAD: dict[str, tuple[Arrange, int, str]] = {
    # size
    "layer shorter than said": (layer(body=BLOB[:-1]), 12, "wrong size"),
    "layer longer than said": (layer(body=BLOB + b"x"), 12, "wrong size"),
    "layer empty": (layer(body=b""), 12, "wrong size"),
    "manifest larger than any": (tag(body=b" " * (MAX_JSON_BYTES + 1), headers=headers(docker_content_digest=None)),
                                 18, "too large"),
    "manifest says layer is larger": (one_layer(size=len(BLOB) + 1), 12, "wrong size"),
    "manifest says layer is negative": (one_layer(size=-1), 10, "size"),
    "manifest says layer is endless": (one_layer(size=1 << 62), 10, "integer too large"),
    # digest
    "other layer": (layer(body=b"x" * len(BLOB)), 12, "wrong digest"),
    "other config": (fault(path=f"/blobs/{CONFIG}", body=b"x" * len(API.contents[CONFIG])), 12, "wrong digest"),
    "other manifest": (fault(method="GET", path="/manifests/sha256", body=b"x" * len(API.raw)), 12, "digest"),
    "digest of nothing": (tag(headers=headers(docker_content_digest=NONE)), 18, "not found"),
    "digest that is none": (tag(headers=headers(docker_content_digest="sha256:../..")), 18, "the registry sent an invalid digest"),
    "layer named by a path": (one_layer(digest="sha256:../../../etc/passwd"), 10, "digest"),
    "layer named in upper case": (one_layer(digest=str(LAYER).upper()), 10, "digest"),
    "layer that is not there": (one_layer(digest=NONE), 18, "not found"),
    # type
    "a web page": (tag(headers=headers(content_type="text/html")), 18, "not an image"),
    "no type": (tag(headers=headers(content_type=None)), 18, "not an image"),
    "schema 1": (tag(headers=headers(content_type="application/vnd.docker.distribution.manifest.v1+prettyjws")),
                 18, "not an image"),
    "manifest served as an index": (document(API.raw, OCI_INDEX), 10, "mediaType"),
    "manifest and index at once": (image_manifest(lambda value: value.update(manifests=[])), 10, "manifests"),
    "keys twice": (document(API.raw.replace(b'"layers"', b'"config":{},"layers"')), 10, "duplicate key"),
    "keys that differ in case": (image_manifest(lambda value: value.update(Layers=[])), 10, "'Layers'"),
    "not JSON": (document(b"<html>"), 10, "not JSON"),
    "layer from somewhere else": (one_layer(urls=["http://example.com/layer"]), 10, "urls"),
    # stopping short
    "cut in the layer": (layer(drop_at=100), 18, "bytes missing"),
    "cut before the answer": (layer(drop_at=-1), 18, str(LAYER)),
    "cut in the manifest": (fault(method="GET", path="/manifests/", drop_at=10), 18, "bytes missing"),
    # refusing
    "no such tag": (lambda registry: registry.manifests.pop(("api", "1")), 18, "not found"),
    "no such page": (tag(status=404, body=b"<html>"), 18, "not found"),
    "broken": (tag(status=500), 18, "HTTP 500"),
    "too many": (layer(status=429), 18, "HTTP 429"),
    "teapot": (tag(status=418), 18, "HTTP 418"),
    # elsewhere
    "round in circles": (fault(path="/manifests/", status=302, headers=headers(location="/v2/api/manifests/1")),
                         18, "too many redirects"),
    "nowhere": (tag(status=302, headers=headers(location=None)), 18, "the registry points to an unusable address"),
    "to a file": (lambda registry: elsewhere(registry, "file:///etc/passwd"), 18, "file:"),
    "in plain HTTP": (lambda registry: elsewhere(registry, "http://example.invalid/x"), 18, "example.invalid"),
    # logins
    "Basic": (lambda registry: registry.require_basic("alice", "secret"), 18, "a user name and password are needed"),
    "Bearer": (lambda registry: registry.require_bearer({"alice": "secret"}), 18, "access denied"),
    "Bearer from a file": (lambda registry: bearer(registry, "file:///etc/passwd"), 18, "file:"),
    "Bearer in plain HTTP": (lambda registry: bearer(registry, "http://example.invalid/t"), 18, "example.invalid"),
    "forbidden": (tag(status=403), 18, "access denied"),
    "a login nobody knows": (tag(status=401, headers=headers(www_authenticate="Negotiate")), 18, ""),
}  # fmt: skip


@pytest.mark.parametrize(("arrange", "code", "message"), BAD.values(), ids=BAD)
def test_an_answer_that_is_wrong_fails_with_its_message(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, arrange: Arrange, code: int, message: str
) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)  # no waiting between tries
    with FakeRegistry() as registry:
        registry.add("api", "1", API)
        arrange(registry)
        manifest = gap.manifest(f"{registry.host}/api:1")
        done = gap.online("pack", manifest, "--to", gap.stick, code=code)
    error = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
    assert "/api" in error[0]
    assert "secret" not in done.err
    assert "Traceback" not in done.err
    assert not list(gap.folder.rglob("bundle.dsse.json"))


def test_the_same_after_it_was_mended(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a layer stays on the medium; the rest is asked for, and nothing else."""
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    with FakeRegistry() as registry:
        registry.add("api", "1", API)
        manifest = gap.manifest(f"{registry.host}/api:1")
        cut = registry.fault(method="GET", path=f"/blobs/{LAYER}", drop_at=100)
        gap.online("pack", manifest, "--to", gap.stick, code=18)
        cut.times = 0
        before = len(registry.requests)
        gap.online("pack", manifest, "--to", gap.stick)
        ranges = [r.headers.get("range") for r in registry.requests[before:] if str(LAYER) in r.path]
    assert len(ranges) == 1
    assert ranges[0].startswith("bytes=")
    assert ranges[0] != "bytes=0-"
    gap.offline("verify", gap.stick / "stack-0001")
