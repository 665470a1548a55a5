"""The tar is stated and signed first and filled behind; again is a no-op, and what broke off is finished."""

import json
import subprocess

import pytest

from airgap.bundle.bundle_tar import TarFolder
from airgap.errors import EndpointError, IntegrityError, NoSpaceError, UsageError
from airgap.online.pack_tar import pack_tar
from airgap.trust.keys import SigningKey
from tests.support.images import simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource
from tests.unit.online.support import DAY, Bench, manifest_of, plan_of, with_free_space

A, B = simple_image("a"), simple_image("b")
IMAGES = {"example.com/a:1": A, "example.com/b:1": B}
MANIFEST = manifest_of(*IMAGES)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def source():
    return MemorySource(dict(IMAGES))


def pack(bench, source, manifest=MANIFEST, **fields):
    plan = plan_of(manifest, registry=source)
    return pack_tar(manifest, plan, bench.site, bench.order(**fields), bench.progress)


def test_what_is_in_it(bench, source, tmp_path):
    packed = pack(bench, source)
    assert packed.path == bench.stick / "stack-0001.tar"
    assert (packed.fresh, packed.failures) == (True, {})
    with TarFolder(packed.path) as tar:
        assert tar.read("statement.json", 1 << 20) == packed.statement.to_bytes()
        for digest, raw in (A.contents | B.contents).items():
            assert tar.read(digest.path, 1 << 20) == raw
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", packed.path, "-C", out], check=True)
    folder = Bench(tmp_path / "other").pack(MANIFEST, plan_of(MANIFEST, registry=source)).path
    names = {path.relative_to(out).as_posix() for path in (out / "blobs").rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(folder).as_posix() for path in (folder / "blobs").rglob("*") if path.is_file()
    }


def test_the_ledger_and_the_mark(bench, source):
    packed = pack(bench, source)
    begin, end = map(json.loads, bench.site.ledger_path.read_text().splitlines()[-2:])
    assert begin["bundle"] == {"stream": "stack", "serial": 1, "folder": str(packed.path)}
    assert end["statement_sha256"] == packed.statement_sha256 == bench.site.sent("stack").statement_sha256
    assert bench.site.kept_envelope("stack", 1).is_file()


def test_again_is_a_no_op(bench, source):
    first = pack(bench, source)
    raw = first.path.read_bytes()
    bench.now += DAY
    again = pack(bench, source)
    assert (again.fresh, again.statement) == (False, first.statement)
    assert first.path.read_bytes() == raw


def test_damage_is_repaired(bench, source):
    packed = pack(bench, source)
    raw = packed.path.read_bytes()
    at = raw.index(A.contents[A.layers[0]])
    packed.path.write_bytes(raw[:at] + b"?" + raw[at + 1 :])
    assert pack(bench, source).fresh
    assert packed.path.read_bytes() == raw


def test_what_broke_off_is_finished(bench, source):
    source.breaks[B.layers[0]] = 100
    with pytest.raises(EndpointError, match="broke off"):
        pack(bench, source, jobs=1)
    part = bench.stick / "stack-0001.tar.part"
    assert [path.name for path in bench.stick.iterdir()] == [part.name]
    mark = bench.site.sent("stack")
    packed = pack(bench, source)
    assert (packed.fresh, packed.statement_sha256) == (True, mark.statement_sha256)
    assert not part.exists()


@pytest.mark.parametrize("head", [b"", b"junk" * 999])
def test_a_useless_earlier_attempt_gets_no_say(bench, source, head):
    first = pack(bench, source)
    first.path.unlink()
    first.path.with_name(first.path.name + ".part").write_bytes(head)
    assert pack(bench, source).statement.serial == 2


def test_another_lock_is_the_next_in_the_stream(bench, source):
    first = pack(bench, source)
    second = pack(bench, source, manifest_of("example.com/a:1"))
    assert second.path.name == "stack-0002.tar"
    assert second.statement.previous.statement_sha256 == first.statement_sha256


def test_another_signer_signs_the_same_statement(bench, source):
    first = pack(bench, source)
    raw = first.path.read_bytes()
    assert pack(bench, source, signers=(bench.key, bench.key)).statement == first.statement
    assert first.path.read_bytes() == raw
    with pytest.raises(Exception, match="may not sign"):
        pack(bench, source, signers=(SigningKey.generate("ecdsa-p256"),))


def test_another_tar_at_the_path_is_refused(bench, source):
    bench.stick.mkdir()
    strange = bench.stick / "stack-0001.tar"
    strange.write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="another bundle is at this path"):
        pack(bench, source)
    assert strange.read_bytes() == b"somebody else's"


def test_swapped_content(bench, source):
    source.swaps[A.layers[0]] = bytes(len(A.contents[A.layers[0]]))
    with pytest.raises(IntegrityError):
        pack(bench, source)
    assert not (bench.stick / "stack-0001.tar").exists()


def test_no_space(bench, source, monkeypatch):
    with_free_space(monkeypatch, lambda: 1 << 20)
    with pytest.raises(NoSpaceError, match="does not fit"):
        pack(bench, source)
    assert not bench.stick.exists()


def test_holes_in_an_unfinished_tar_are_no_space(bench, source, monkeypatch):
    large = simple_image("large", 4 << 20)
    source.images["example.com/large:1"] = large
    source.breaks[large.layers[0]] = 100
    manifest = manifest_of(*source.images)
    with pytest.raises(EndpointError):
        pack(bench, source, manifest)
    with_free_space(monkeypatch, lambda: 5 << 20)
    with pytest.raises(NoSpaceError, match="does not fit"):
        pack(bench, source, manifest)


def test_exports_are_refused(bench):
    manifest = manifest_of("{ref: example.com/a:1, source: docker}")
    plan = plan_of(manifest, docker=MemoryEngine(dict(IMAGES)))
    with pytest.raises(UsageError, match="cannot carry an export") as raised:
        pack_tar(manifest, plan, bench.site, bench.order(), bench.progress)
    assert "leave out --tar" in raised.value.hint
