"""A bundle is made once for each place in a stream, goes on where it stopped, and repeats to the byte."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airgap.bundle.statement import Statement
from airgap.bundle.upstream import UpstreamSignature
from airgap.bundle.writer import BundleWriter
from airgap.errors import (
    AmbiguousError,
    EndpointError,
    IntegrityError,
    MediaError,
    NoSpaceError,
    UnknownKeyError,
    UnlistedContentError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.online.collect import planned_images, with_upstream
from airgap.online.delta_base import absent_from
from airgap.online.pack_tar import pack_tar
from airgap.online.terms import DEFAULT_LIFETIME
from airgap.trust.envelope import ROOT_TYPE, Envelope, Signature
from airgap.trust.keys import SigningKey
from airgap.trust.root import Role, RootKey, SignedRoot
from tests.support.images import make_index, simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource
from tests.unit.online.support import DAY, NOW, Bench, manifest_of, plan_of, with_free_space

A, B = simple_image("a"), simple_image("b")
MULTI = make_index([simple_image("amd"), simple_image("arm", platform="linux/arm64")])
IMAGES = {"example.com/a:1": A, "example.com/b:1": B, "example.com/multi:1": MULTI}
MANIFEST = manifest_of(*IMAGES)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def direct_plan(manifest=MANIFEST):
    return plan_of(manifest, registry=MemorySource(dict(IMAGES)))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_what_a_bundle_states(bench):
    manifest = manifest_of(*IMAGES, head="destinations: [plant-7]\ntransfer: {ticket: T-1}\n")
    packed = bench.pack(manifest, direct_plan(manifest))
    statement = packed.statement
    assert packed.path == bench.stick / "stack-0001"
    assert packed.fresh
    assert (statement.stream, statement.serial, statement.epoch, statement.previous) == ("stack", 1, 1, None)
    assert (statement.created, statement.expires) == (NOW, NOW + DEFAULT_LIFETIME)
    assert statement.not_before < NOW
    assert (statement.destinations, statement.transfer) == (("plant-7",), {"ticket": "T-1"})
    assert [str(image.name) for image in statement.images] == list(IMAGES)
    assert statement.sender.site == "hq"
    assert statement.total_bytes == sum(len(files_of(packed.path)[name]) for name in statement.subjects)
    raw = (packed.path / "statement.json").read_bytes()
    assert Digest.of(raw).hex == packed.statement_sha256 == bench.site.sent("stack").statement_sha256
    assert Statement.parse(raw) == statement


def test_the_ledger_has_it_before_and_after(bench):
    packed = bench.pack(MANIFEST, direct_plan())
    begin, end = map(json.loads, bench.site.ledger_path.read_text().splitlines()[-2:])
    assert begin["bundle"] == {"stream": "stack", "serial": 1, "folder": str(packed.path)}
    assert end["begin"] == begin["seq"]
    assert end["statement_sha256"] == packed.statement_sha256
    # The checkpoint that the bundle carries is of the ledger with the begin record in it.
    assert packed.statement.sender.checkpoint.size == begin["seq"]


def test_the_same_lock_gives_the_same_bytes_anywhere(bench, tmp_path):
    """Two machines: the same root, other ledgers, other folders, another time."""
    other = tmp_path / "other"
    for name, raw in files_of(bench.folder / "home").items():
        if name != "ledger.jsonl":
            path = other / "home" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
            path.chmod(0o600)
    twin = Bench(other, now=NOW + 3 * DAY)
    first, second = bench.pack(MANIFEST, direct_plan()), twin.pack(MANIFEST, direct_plan(), jobs=1)
    one, two = files_of(first.path), files_of(second.path)
    listed = {line.split("  ")[1] for line in one["SHA256SUMS"].decode().splitlines()} | {"SHA256SUMS"}
    assert {name: one[name] for name in listed} == {name: two[name] for name in listed}
    assert set(one) - listed == {name for name in one if name.startswith(("bundle.", "statement.", "sig/"))}
    same = {"created": NOW, "not_before": NOW, "expires": NOW, "sender": None}
    assert replace(first.statement, **same) == replace(second.statement, **same)


def test_again_is_a_no_op(bench):
    first = bench.pack(MANIFEST, direct_plan())
    before = files_of(first.path)
    bench.now += DAY
    again = bench.pack(MANIFEST, direct_plan())
    assert not again.fresh
    assert again.statement == first.statement
    assert files_of(first.path) == before


def test_an_additional_file_is_reported_and_not_sealed(bench):
    """As a desktop leaves it in any folder that it shows: a reader would refuse it."""
    first = bench.pack(MANIFEST, direct_plan())
    (first.path / ".DS_Store").touch()
    for _ in range(2):
        with pytest.raises(UnlistedContentError, match=r"unexpected file: .*/\.DS_Store") as caught:
            bench.pack(MANIFEST, direct_plan())
        assert "remove it" in (caught.value.hint or "")
        assert not (first.path / "bundle.dsse.json").exists()
    (first.path / ".DS_Store").unlink()
    again = bench.pack(MANIFEST, direct_plan())
    assert (again.fresh, again.statement) == (True, first.statement)


@pytest.mark.parametrize("error", [MediaError("cannot read back"), KeyboardInterrupt()])
def test_what_could_not_be_read_back_is_not_sealed(bench, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("airgap.bundle.check_written.prove", fail)
    with pytest.raises(type(error)):
        bench.pack(MANIFEST, direct_plan())
    assert (bench.stick / "stack-0001/statement.json").exists()
    assert not (bench.stick / "stack-0001/bundle.dsse.json").exists()


@pytest.mark.parametrize("repacked", [False, True])
def test_exports_are_packed_once(bench, repacked):
    engine = MemoryEngine({"example.com/a:1": A}, repacked=repacked)
    manifest = manifest_of("{ref: example.com/a:1, source: docker}", "example.com/b:1")
    for expected in (True, False):
        plan = plan_of(manifest, docker=engine, registry=MemorySource(dict(IMAGES)))
        assert bench.pack(manifest, plan).fresh is expected
    assert engine.exports == 1


def test_an_image_that_is_repacked_is_not_named_by_the_digest_that_it_had(bench):
    """A classic store knows an image by the digest of a registry, and hands out another manifest."""
    pinned = f"example.com/a@{Digest.of(b'at a registry')}"
    manifest = manifest_of(f"{{ref: '{pinned}', source: docker}}")
    engine = MemoryEngine({pinned: A}, repacked=True)
    for fresh in (True, False):
        plan = plan_of(manifest, docker=engine)
        packed = bench.pack(manifest, plan)
        assert absent_from(packed.statement, plan.lock) == []
        [image] = packed.statement.images
        assert (str(image.reference), str(image.locked_name)) == (pinned, pinned)
        assert str(image.name) == f"example.com/a@{A.descriptor.digest}"
        assert packed.fresh is fresh
    assert engine.exports == 1


def test_an_export_under_the_digest_of_another_image_is_refused(bench):
    manifest = manifest_of("{ref: example.com/a:1, source: docker}")
    plan = plan_of(manifest, docker=MemoryEngine({"example.com/a:1": A}))
    [image] = plan.lock.images
    wrong = replace(image, name=replace(image.name, tag=None, digest=B.descriptor.digest))
    plan = replace(
        plan, lock=replace(plan.lock, images=(wrong,)), exports=(replace(plan.exports[0], images=(wrong,)),)
    )
    with pytest.raises(AmbiguousError, match="the name has the digest of another image"):
        bench.pack(manifest, plan)
    assert not (bench.stick / "stack-0001/bundle.dsse.json").exists()


def test_a_changed_export_is_another_bundle(bench):
    engine = MemoryEngine({"example.com/a:1": A}, repacked=True)
    manifest = manifest_of("{ref: example.com/a:1, source: docker}")
    bench.pack(manifest, plan_of(manifest, docker=engine))
    engine.images["example.com/a:1"] = B
    packed = bench.pack(manifest, plan_of(manifest, docker=engine))
    assert (packed.statement.serial, packed.fresh) == (2, True)
    assert packed.statement.images[0].digest == B.descriptor.digest


def test_an_export_that_comes_out_different_keeps_no_seal(bench):
    """The image ID is the same, what the engine hands out is not: the signed place is not reused."""
    manifest = manifest_of("{ref: example.com/a:1, source: docker}")
    engine = MemoryEngine({"example.com/a:1": A}, repacked=True)
    packed = bench.pack(manifest, plan_of(manifest, docker=engine))
    (packed.path / A.layers[0].path).unlink()
    raw = A.raw.replace(b"\n", b" ")
    root = replace(A.descriptor, digest=Digest.of(raw), size=len(raw))
    contents = {digest: content for digest, content in A.contents.items() if digest != A.descriptor.digest}
    engine.images["example.com/a:1"] = replace(
        A, descriptor=root, raw=raw, contents=contents | {root.digest: raw}
    )
    with pytest.raises(IntegrityError, match="no longer returns the bytes that were signed: stack-0001"):
        bench.pack(manifest, plan_of(manifest, docker=engine))
    assert not (packed.path / "bundle.dsse.json").exists()


def test_serials_follow_one_another(bench):
    packed = []
    for number in range(3):
        manifest = manifest_of(*IMAGES, head=f"# {number}\n")
        packed.append(bench.pack(manifest, direct_plan(manifest)))
    assert [p.statement.serial for p in packed] == [1, 2, 3]
    assert packed[2].statement.previous.serial == 2
    assert packed[2].statement.previous.statement_sha256 == packed[1].statement_sha256


@pytest.mark.parametrize(
    "why", ["manifest", "expired", "tool", "image", "statement lost", "statement changed"]
)
def test_what_makes_another_bundle(bench, monkeypatch, why):
    first = bench.pack(MANIFEST, direct_plan())
    manifest, plan = MANIFEST, direct_plan()
    statement = first.path / "statement.json"
    if why == "manifest":
        manifest = manifest_of(*IMAGES, head="# other\n")
        plan = direct_plan(manifest)
    elif why == "expired":
        bench.now += DEFAULT_LIFETIME
    elif why == "tool":
        monkeypatch.setattr("airgap.online.terms.__version__", "99.0")
    elif why == "image":
        plan = plan_of(MANIFEST, registry=MemorySource({**IMAGES, "example.com/a:1": B}))
    elif why == "statement lost":
        statement.unlink()
    else:
        statement.write_bytes(statement.read_bytes() + b" ")
    second = bench.pack(manifest, plan)
    assert (second.statement.serial, second.fresh) == (2, True)
    assert second.path != first.path


def test_a_signature_whose_name_leads_elsewhere(bench):
    """Whoever writes to the stick says what he likes in an envelope, and signatures are laid out by it."""
    first = bench.pack(MANIFEST, direct_plan())
    path = first.path / "bundle.dsse.json"
    envelope = Envelope.parse(path.read_bytes(), "bundle")
    signatures = (*envelope.signatures, Signature("../../../escape", b"x"))
    path.write_bytes(replace(envelope, signatures=signatures).to_bytes())
    again = bench.pack(MANIFEST, direct_plan())
    assert again.statement == first.statement
    assert len(Envelope.parse(path.read_bytes(), "bundle").signatures) == 1
    assert not list(bench.folder.rglob("*escape*"))


def test_another_medium_gets_another_serial(bench):
    """The first one went over the gap; nothing of it is here to be confirmed."""
    bench.pack(MANIFEST, direct_plan())
    assert bench.pack(MANIFEST, direct_plan(), to=bench.folder / "other").statement.serial == 2


def test_an_interrupted_seal_keeps_its_place(bench, monkeypatch):
    """Killed between the statement and the envelope: the same statement is signed by the next run."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "_sync_names", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.pack(MANIFEST, direct_plan())
    raw = (bench.stick / "stack-0001" / "statement.json").read_bytes()
    bench.now += DAY
    packed = bench.pack(MANIFEST, direct_plan())
    assert packed.fresh
    assert (packed.path / "statement.json").read_bytes() == raw


@pytest.mark.parametrize("lost", ["gone", "zeros"])
def test_a_stick_that_lost_an_unsealed_bundle_keeps_its_place(bench, lost):
    """What a failing medium took away the site remembers: no serial is left out."""
    first = bench.pack(MANIFEST, direct_plan())
    raw = (first.path / "statement.json").read_bytes()
    (first.path / "bundle.dsse.json").unlink()
    for path in [path for path in first.path.rglob("*") if path.is_file()]:
        path.write_bytes(bytes(path.stat().st_size))
    if lost == "gone":
        (first.path / "statement.json").unlink()
    bench.now += DAY
    again = bench.pack(MANIFEST, direct_plan())
    assert (again.path, again.statement.serial, again.fresh) == (first.path, 1, True)
    assert (again.path / "statement.json").read_bytes() == raw


def test_an_interrupted_fetch_leaves_no_statement(bench):
    source = MemorySource(dict(IMAGES), breaks={A.layers[0]: 10})
    plan = plan_of(MANIFEST, registry=source)
    with pytest.raises(EndpointError):
        bench.pack(MANIFEST, plan)
    assert bench.site.sent("stack") is None
    assert not (bench.stick / "stack-0001" / "statement.json").exists()
    source.opened.clear()
    assert bench.pack(MANIFEST, plan).statement.serial == 1
    assert source.opened == [(A.layers[0], 10)]


def test_a_foreign_bundle_in_the_way(bench):
    (bench.stick / "stack-0001").mkdir(parents=True)
    (bench.stick / "stack-0001" / "bundle.dsse.json").write_bytes(b"somebody's")
    with pytest.raises(UsageError, match="another bundle is at this path"):
        bench.pack(MANIFEST, direct_plan())
    assert (bench.stick / "stack-0001" / "bundle.dsse.json").read_bytes() == b"somebody's"


def test_space_is_counted_less_what_is_there(bench, monkeypatch):
    plan = direct_plan()
    margin = 4 << 20
    free = plan.total_bytes * 101 // 100 + margin
    with_free_space(monkeypatch, lambda: free)
    bench.pack(MANIFEST, plan)
    free = margin
    bench.pack(MANIFEST, plan)
    (bench.stick / "stack-0001" / A.layers[0].path).unlink()
    with pytest.raises(NoSpaceError):
        bench.pack(MANIFEST, plan)


def test_a_key_without_the_role(bench):
    stranger = SigningKey.generate("ed25519")
    with pytest.raises(UnknownKeyError, match="this key may not sign bundles"):
        bench.pack(MANIFEST, direct_plan(), signers=(stranger,))


def with_second_signer(bench) -> SigningKey:
    """Root 2: two owners must sign."""
    old = bench.site.root().root
    bob = SigningKey.generate("ed25519")
    both = old.roles["release"].keyids | {bob.public_key.keyid}
    root = replace(
        old,
        version=2,
        keys={**old.keys, bob.public_key.keyid: RootKey(bob.public_key, "bob")},
        roles={**old.roles, "release": Role(both, 2, distinct_owners=True)},
    )
    raw = Envelope.sign(ROOT_TYPE, root.to_bytes(), [bench.key]).to_bytes()
    bench.site.install_root(SignedRoot.parse(raw, "2.root.json"))
    return bob


def test_a_new_root_is_another_bundle_and_travels(bench):
    bench.pack(MANIFEST, direct_plan())
    bob = with_second_signer(bench)
    packed = bench.pack(MANIFEST, direct_plan(), signers=(bench.key, bob))
    assert (packed.statement.serial, packed.statement.root_version) == (2, 2)
    assert {"trust/1.root.json", "trust/2.root.json"} <= set(packed.statement.subjects)
    assert len(list((packed.path / "sig").iterdir())) == 2


def test_too_few_signatures_are_reported(bench):
    with_second_signer(bench)
    bench.pack(MANIFEST, direct_plan())
    assert bench.progress.notes == [
        "1 of 2 signatures: others must sign it with `airgap sign` before it loads"
    ]


def test_the_lifetime_is_the_orders(bench):
    packed = bench.pack(MANIFEST, direct_plan(), lifetime=timedelta(days=7))
    assert packed.statement.expires == NOW + 7 * DAY


def test_one_at_a_time(bench):
    with bench.site.packing(MANIFEST.name), pytest.raises(UsageError, match="another bundle of this stream"):
        bench.pack(MANIFEST, direct_plan())
    assert bench.pack(MANIFEST, direct_plan()).statement.serial == 1


@pytest.mark.parametrize("left", [b"", bytes(10240)], ids=["empty", "zeros"])
def test_a_tar_whose_beginning_is_lost(bench, left):
    """As after a power cut: the statement is gone, so the bundle gets a new serial."""
    order = bench.order()
    first = pack_tar(MANIFEST, direct_plan(), bench.site, order, bench.progress)
    first.path.write_bytes(left)
    again = pack_tar(MANIFEST, direct_plan(), bench.site, order, bench.progress)
    assert (first.statement.serial, again.statement.serial) == (1, 2)


def test_an_image_stays_behind_without_its_upstream_signature():
    """Sealed without the signature that its record names, the bundle would be refused as a whole."""
    [image, other] = planned_images(direct_plan())[:2]
    name = str(image.record.name)
    lost = UpstreamSignature("a key", "0" * 64, Digest.of(b"not carried"))
    found, failures = with_upstream([image, other], {name: lost})
    assert ([i.record.name for i in found], list(failures)) == ([other.record.name], [name])
    there = replace(lost, manifest=other.record.digest)
    found, failures = with_upstream([image, other], {name: there})
    assert (found[0].record.upstream_signature, failures) == (there, {})
