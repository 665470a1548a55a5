"""A base is a signed word on what the other side holds: a receipt, a bundle, or a serial."""

from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.audit.receipt import Receipt, ReceiptImage
from airgap.bundle.statement import Statement
from airgap.errors import (
    AirgapError,
    ExpiredError,
    FormatError,
    MediaError,
    SignatureMismatchError,
    TrustError,
    UnknownKeyError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.online.delta_base import read_bases
from airgap.online.pack_tar import pack_tar
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import ReceivingSite, Role, RootKey, SignedRoot
from tests.support.images import Layer, make_image, noise, simple_image
from tests.support.memory_sources import MemorySource
from tests.unit.online.support import NOW, Bench, Opener, lock_of, make_plan, manifest_of, plan_of

A, B = simple_image("a"), simple_image("b")
IMAGES = {"example.com/a:1": A, "example.com/b:1": B}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def pack(bench, *names: str, **images):
    manifest = manifest_of(*names)
    return bench.pack(manifest, plan_of(manifest, registry=MemorySource(IMAGES | images)))


def bases(bench, *since: object) -> frozenset[Digest]:
    return read_bases(bench.site, "stack", map(str, since), NOW, bench.progress).held


def receipt_of(bench, site: str = "plant-7", **changes) -> Receipt:
    """What a site says that has loaded the first bundle of the stream, which is packed when it is not there."""
    kept = bench.site.kept_envelope("stack", 1)
    if not kept.exists():
        pack(bench, "example.com/a:1")
    payload = Envelope.parse(kept.read_bytes(), "x").payload
    images = Statement.parse(payload).images
    found = Receipt(
        site=site, bundle_stream="stack", serial=1, epoch=1, statement_sha256=Digest.of(payload).hex,
        time=NOW, result="ok", target="docker", target_version="28",
        images=tuple(
            ReceiptImage(str(each.name), str(each.digest), "loaded", target_digest=str(each.digest)) for each in images
        ),
        keyids=(bench.key.public_key.keyid,), threshold=1,
        root_version=bench.site.root().root.version,
        checkpoint={"origin": site, "size": 1, "root": "e" * 64}, holds=tuple(sorted(map(str, A.contents))),
        operator="jo", tool_version="0.1.0",
    )  # fmt: skip
    return replace(found, **changes)


def write(bench, payload: bytes, key: SigningKey, name: str = "x.json"):
    path = bench.folder / name
    path.write_bytes(Envelope.sign(STATEMENT_TYPE, payload, [key]).to_bytes())
    return path


def trust(bench, key: SigningKey) -> None:
    """A new root that lets `key` sign receipts."""
    old = bench.site.root().root
    keyid = key.public_key.keyid
    root = replace(
        old,
        version=old.version + 1,
        keys={**old.keys, keyid: RootKey(key.public_key, "plant-7")},
        roles={**old.roles, "receipt": Role(frozenset({keyid}), 1, distinct_owners=False)},
        sites={"plant-7": ReceivingSite(frozenset({keyid}))},
    )
    raw = Envelope.sign(ROOT_TYPE, root.to_bytes(), [bench.key]).to_bytes()
    bench.site.install_root(SignedRoot.parse(raw, "root"))


@pytest.fixture(scope="module")
def stranger():
    return SigningKey.generate("ecdsa-p256")


def test_no_base(bench):
    assert bases(bench) == frozenset()


@pytest.mark.parametrize("form", ["folder", "envelope", "serial", "padded serial"])
def test_a_bundle_in_every_form(bench, form):
    path = pack(bench, "example.com/a:1").path
    forms = {"folder": path, "envelope": path / "bundle.dsse.json", "serial": "1", "padded serial": "0001"}
    assert bases(bench, forms[form]) == set(A.contents)


def test_a_tar(bench):
    manifest = manifest_of("example.com/a:1")
    plan = plan_of(manifest, registry=MemorySource(dict(IMAGES)))
    path = pack_tar(manifest, plan, bench.site, bench.order(), bench.progress).path
    assert bases(bench, path) == set(A.contents)


def test_several_add_up(bench, stranger):
    first = pack(bench, "example.com/a:1").path
    pack(bench, "example.com/b:1")
    receipt = write(bench, receipt_of(bench).to_bytes(), stranger)
    assert bases(bench, first, 2) == bases(bench, receipt, 2) == set(A.contents) | set(B.contents)


def test_a_delta_holds_what_it_requires_too(bench):
    base = Layer.of({"base": noise(900, 1)})
    one, two = (make_image([base, Layer.of({n: n.encode()})], label=n) for n in "12")
    images = {"example.com/v:1": one, "example.com/v:2": two}
    pack(bench, "example.com/v:1", **images)
    manifest, source = manifest_of("example.com/v:2"), MemorySource(images)
    lock = lock_of(manifest, registry=source)
    plan = make_plan(lock, Opener({"registry": source}), bases(bench, 1))
    delta = bench.pack(manifest, plan)
    assert [each.digest for each in delta.statement.requires] == [one.layers[0]]
    assert bases(bench, delta.path) == set(two.contents)


def test_a_file_called_like_a_serial(bench, stranger, monkeypatch):
    pack(bench, "example.com/a:1")
    monkeypatch.chdir(bench.folder)
    held = str(A.descriptor.digest)
    write(bench, receipt_of(bench, holds=(held,)).to_bytes(), stranger, "1")
    assert bases(bench, "1") == {A.descriptor.digest}


def test_a_receipt_of_a_known_site(bench, stranger):
    trust(bench, stranger)
    assert bases(bench, write(bench, receipt_of(bench).to_bytes(), stranger)) == set(A.contents)
    assert bench.progress.notes == []


DISAGREES = {
    "a serial that was not sealed here": {"serial": 2},
    "a stream that was not sealed here": {"bundle_stream": "other"},
    "a stream with a path in it": {"bundle_stream": "../sent/stack"},
    "another statement": {"statement_sha256": "5" * 64},
    "blobs that were not sent": {"holds": (str(Digest.of(b"1")),)},
    "an image left out": {"images": ()},
    "keys that did not sign": {"keyids": ("0" * 64,)},
    "another version of the root": {"root_version": 9},
    "a time long before the bundle": {"time": NOW - timedelta(days=30)},
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("changes", DISAGREES.values(), ids=DISAGREES)
def test_a_receipt_that_does_not_agree_is_no_base(bench, stranger, changes, known):
    if known:
        trust(bench, stranger)
    path = write(bench, receipt_of(bench, **changes).to_bytes(), stranger)
    with pytest.raises(TrustError, match="does not agree with the bundle that was sealed here"):
        bases(bench, path)


def test_a_site_whose_name_looks_like_another(bench, stranger):
    """What an unknown site says is taken with a note, and not when it could be taken for a known one."""
    trust(bench, SigningKey.generate("ecdsa-p256"))
    with pytest.raises(UnknownKeyError):
        bases(bench, write(bench, receipt_of(bench, site="Plant-7").to_bytes(), stranger))


def test_archives_that_something_else_imports_are_no_base(bench, stranger):
    placed = tuple(replace(image, verdict="placed") for image in receipt_of(bench).images)
    assert bases(bench, write(bench, receipt_of(bench, images=placed).to_bytes(), stranger)) == frozenset()
    assert "no delta can build on what docker has" in bench.progress.notes[-1]


def test_a_receipt_of_an_unknown_site_is_noted(bench, stranger):
    path = write(bench, receipt_of(bench, site="plant-9").to_bytes(), stranger)
    assert bases(bench, path) == set(A.contents)
    assert bench.progress.notes == [
        f"{path}: the trust root has no key for site plant-9; the signature was not checked"
    ]


def test_a_known_site_for_which_another_signs(bench, stranger):
    """Neither a stranger, nor a site that may sign for itself."""
    trust(bench, stranger)
    for key in (SigningKey.generate(), bench.site.key):
        with pytest.raises(UnknownKeyError):
            bases(bench, write(bench, receipt_of(bench).to_bytes(), key))
    assert bench.progress.notes == []


def test_a_changed_receipt_of_a_known_site(bench, stranger):
    trust(bench, stranger)
    path = write(bench, receipt_of(bench).to_bytes(), stranger)
    envelope = Envelope.parse(path.read_bytes(), "x")
    changed = replace(envelope, payload=receipt_of(bench, holds=()).to_bytes())
    path.write_bytes(changed.to_bytes())
    with pytest.raises(SignatureMismatchError):
        bases(bench, path)


def test_a_bundle_of_a_stranger(bench, stranger):
    payload = (pack(bench, "example.com/a:1").path / "statement.json").read_bytes()
    with pytest.raises(UnknownKeyError):
        bases(bench, write(bench, payload, stranger))


def test_after_the_end_of_the_root(bench):
    path = pack(bench, "example.com/a:1").path
    with pytest.raises(ExpiredError):
        read_bases(bench.site, "stack", [str(path)], NOW + timedelta(days=9999), bench.progress)


@pytest.mark.parametrize("since", ["7", "stick/none.json", "no/such/place", "½"])
def test_no_such_base(bench, since, monkeypatch):
    monkeypatch.chdir(bench.folder)
    bench.stick.mkdir()
    with pytest.raises(UsageError, match=f"^no such base: {since}, want a receipt"):
        bases(bench, since)


def test_a_folder_without_a_base(bench):
    bench.stick.mkdir()
    with pytest.raises(UsageError, match=r"^not a receipt or a bundle: .*stick, got an empty folder"):
        bases(bench, str(bench.stick))


BAD = {
    "empty": b"",
    "text": b"hello",
    "no envelope": b"{}",
    "torn": b'{"payload":',
    "too large": b"{" + b" " * (64 << 20) + b"}",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_what_is_no_base(bench, raw):
    path = bench.folder / "x.json"
    path.write_bytes(raw)
    with pytest.raises(AirgapError) as raised:
        bases(bench, path)
    assert type(raised.value) not in (AirgapError, MediaError)


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"{}", b'{"predicateType":7}', b'{"predicateType":"https://slsa.dev/provenance/v1"}'],
)
def test_signed_but_no_base(bench, payload):
    with pytest.raises(UsageError, match=r"^not a receipt or a bundle: .*another signed document"):
        bases(bench, write(bench, payload, bench.key))


def test_a_malformed_receipt(bench, stranger):
    payload = receipt_of(bench).to_bytes() + b"\n"
    with pytest.raises(FormatError, match="canonical"):
        bases(bench, write(bench, payload, stranger))


# -- several sites


def keep(bench, receipt: Receipt, key: SigningKey, name: str):
    """A receipt that was imported."""
    raw = Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), [key]).to_bytes()
    return bench.site.keep_receipt(f"plant-7/{name}.receipt.json", raw)


def latest(bench, *destinations: str, without: tuple[str, ...] = ()):
    return read_bases(
        bench.site, "stack", ["sites"], NOW, bench.progress,
        destinations=destinations, without_base=without,
    )  # fmt: skip


def test_the_latest_receipt_of_each_destination(bench, stranger):
    trust(bench, stranger)
    first = receipt_of(bench)
    keep(bench, replace(first, holds=(str(A.descriptor.digest),)), stranger, "a")
    newest = keep(bench, replace(first, time=NOW + timedelta(minutes=2)), stranger, "b")
    keep(bench, replace(first, time=NOW + timedelta(minutes=1), holds=()), stranger, "c")
    [site] = latest(bench, "plant-7").sites
    assert (site.site, site.held, site.names) == ("plant-7", set(A.contents), (str(newest),))


UNUSABLE = {
    "a lie": {"keyids": ("0" * 64,)},
    "nothing held": {"holds": ()},
    "another stream": {"bundle_stream": "other"},
    "another site": {"site": "plant-8"},
}


@pytest.mark.parametrize("changes", UNUSABLE.values(), ids=UNUSABLE)
def test_a_later_receipt_that_cannot_be_a_base_is_passed_over(bench, stranger, changes):
    trust(bench, stranger)
    good = keep(bench, receipt_of(bench), stranger, "a")
    keep(bench, receipt_of(bench, time=NOW + timedelta(minutes=2), **changes), stranger, "b")
    (good.parent / "c.receipt.json").write_bytes(b"{}")
    (good.parent / "d.receipt.json").symlink_to("/etc/passwd")
    [site] = latest(bench, "plant-7").sites
    assert site.names == (str(good),)
    assert any("d.receipt.json is not used" in note for note in bench.progress.notes)


def test_a_receipt_that_another_signed_is_not_the_latest(bench, stranger):
    trust(bench, stranger)
    keep(bench, receipt_of(bench), SigningKey.generate(), "a")
    with pytest.raises(UsageError, match=r"^destinations without a base: plant-7"):
        latest(bench, "plant-7")
    assert latest(bench, "plant-7", "plant-8", without=("plant-7", "plant-8")).held == frozenset()


def test_sites_needs_destinations(bench):
    with pytest.raises(UsageError, match=r"^--since sites needs destinations"):
        latest(bench)


def test_a_file_called_sites(bench, stranger, monkeypatch):
    monkeypatch.chdir(bench.folder)
    held = str(A.descriptor.digest)
    write(bench, receipt_of(bench, holds=(held,)).to_bytes(), stranger, "sites")
    assert latest(bench).held == {A.descriptor.digest}


def test_a_receipt_of_a_site_that_is_not_a_destination_does_not_count(bench, stranger):
    trust(bench, stranger)
    path = write(bench, receipt_of(bench).to_bytes(), stranger)
    pack(bench, "example.com/b:1")
    since = [str(path), "2"]
    bases = read_bases(bench.site, "stack", since, NOW, bench.progress, destinations=["plant-9"])
    assert bases.held == set(B.contents)
    assert bench.progress.notes[-1] == f"{path} does not count: plant-7 is not a destination"
