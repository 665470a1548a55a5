import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap.bundle import check_written as proof
from airgap.bundle.contents import sha256sums
from airgap.bundle.medium import Medium
from airgap.errors import (
    ExpiredError,
    FormatError,
    IntegrityError,
    MediaError,
    NoSpaceError,
    NotFoundError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.kit.statement import KitStatement, KitTarget
from airgap.oci.digest import Digest
from airgap.online.kit import KitOrder, contents, make_kit
from airgap.online.wheels import Wheel
from airgap.site import Site
from airgap.trust.envelope import ROOT_TYPE, Envelope, Signature
from airgap.trust.keys import SigningKey
from airgap.trust.root import Role, RootKey, SignedRoot
from tests.support.kits import NOW, here, make_site, write_stand_in, write_stand_ins
from tests.unit.online.support import Notes, with_free_space

pytestmark = pytest.mark.usefixtures("pip_once")


class Bench:
    """A sending site, wheels, and a medium."""

    def __init__(self, folder):
        self.site, self.key = make_site(folder / "home")
        self.wheels = write_stand_ins(folder / "wheels")
        self.stick = folder / "stick"
        self.notes = Notes()

    def make(self, **fields):
        usual = {"to": self.stick, "targets": here(), "signer": self.key, "now": NOW, "wheels": self.wheels}
        return make_kit(self.site, KitOrder(**(usual | fields)), self.notes)

    def ended(self):
        """The last record of the ledger."""
        return json.loads((self.site.home / "ledger.jsonl").read_bytes().splitlines()[-1])


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_made(bench):
    made = bench.make()
    files = files_of(made.path)
    statement = KitStatement.parse(files["statement.json"])
    assert made.path == bench.stick / "airgap-kit-0.1.0"
    assert statement == made.statement
    assert statement.targets == here()
    assert statement.total_bytes == sum(len(files[name]) for name in statement.subjects)
    assert {
        name: Digest.of(raw).hex for name, raw in files.items() if name in statement.subjects
    } == statement.subjects
    rest = {name: sha256 for name, sha256 in statement.subjects.items() if name != "SHA256SUMS"}
    assert files["SHA256SUMS"] == sha256sums(rest)
    envelope = Envelope.parse(files["kit.dsse.json"], "kit")
    assert envelope.payload == files["statement.json"]
    assert bench.key.public_key.verify(envelope.message, files[f"sig/{bench.key.public_key.keyid[:16]}.sig"])
    assert len(files) == len(statement.subjects) + 3


def test_requirements_name_every_wheel_but_pip(bench):
    made = bench.make()
    [name] = (name for name in made.statement.subjects if name.startswith("requirements/"))
    lines = (made.path / name).read_text().splitlines()
    wheels = {path.name: Digest.of(path.read_bytes()).hex for path in (made.path / "wheels").iterdir()}
    assert lines[0].startswith("# airgap 0.1.0 on ")
    assert len(lines) == len(wheels)
    assert all(
        any(line.endswith(sha256) for line in lines) for name, sha256 in wheels.items() if name[:4] != "pip-"
    )
    assert not any(line.startswith("pip==") for line in lines)


def test_the_ledger_tells(bench):
    made = bench.make()
    end = bench.ended()
    assert (end["event"], end["phase"], end["result"]) == ("kit", "end", "ok")
    assert end["statement_sha256"] == made.statement_sha256
    assert end["keys"] == [bench.key.public_key.keyid]


def test_again_is_the_same(bench):
    before = files_of(bench.make().path)
    assert files_of(bench.make().path) == before
    assert files_of(bench.make(to=bench.stick / "other", now=NOW + timedelta(days=9)).path) == before


@pytest.mark.parametrize("loss", ["kit.dsse.json", "statement.json", "SHA256SUMS", "install.py"])
def test_again_mends(bench, loss):
    made = bench.make()
    before = files_of(made.path)
    (made.path / loss).write_bytes(b"damaged")
    bench.make()
    assert files_of(made.path) == before


def test_newer_wheels_take_the_place_of_old_ones(bench):
    made = bench.make()
    (made.path / "wheels" / "stray.part").touch()
    write_stand_in(bench.wheels, "rich", version="100.0")
    newer = bench.make()
    assert {
        path.name for path in (made.path / "wheels").glob("*") if "rich" in path.name or "part" in path.name
    } == {"rich-100.0-py3-none-any.whl"}
    assert newer.statement_sha256 != made.statement_sha256


def test_interrupted_it_is_no_kit(bench, monkeypatch):
    made = bench.make()
    write_stand_in(bench.wheels, "rich", version="100.0")
    with monkeypatch.context() as patch:
        patch.setattr("airgap.bundle.writer._remove_others", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.make()
    assert not (made.path / "kit.dsse.json").exists()
    assert (bench.make().path / "kit.dsse.json").exists()


class TestSigners:
    def add_bob(self, bench, threshold: int) -> SigningKey:
        """A root in which two may release."""
        bob = SigningKey.generate()
        old = bench.site.root()
        ids = frozenset({bench.key.public_key.keyid, bob.public_key.keyid})
        root = replace(
            old.root, version=2, keys={**old.root.keys, bob.public_key.keyid: RootKey(bob.public_key, "bob")},
            roles={**old.root.roles, "release": Role(ids, threshold, distinct_owners=False)},
        )  # fmt: skip
        raw = Envelope.sign(ROOT_TYPE, root.to_bytes(), [bench.key]).to_bytes()
        bench.site.install_root(SignedRoot.parse(raw, "2.root.json"))
        return bob

    def test_a_second_one_joins(self, bench):
        bob = self.add_bob(bench, 2)
        first = bench.make()
        assert any("1 of 2 signatures" in note for note in bench.notes.notes)
        second = bench.make(signer=bob)
        assert second.statement_sha256 == first.statement_sha256
        assert second.signers == (bench.key.public_key.keyid, bob.public_key.keyid)
        assert bench.make().signers == second.signers
        assert len(list((first.path / "sig").iterdir())) == 2

    def test_none_joins_another_kit(self, bench):
        bob = self.add_bob(bench, 1)
        bench.make()
        write_stand_in(bench.wheels, "rich", version="100.0")
        made = bench.make(signer=bob)
        assert made.signers == (bob.public_key.keyid,)
        assert len(list((made.path / "sig").iterdir())) == 1

    def test_a_name_that_leads_elsewhere(self, bench):
        """Whoever writes to the stick says what he likes in an envelope, and signatures are laid out by it."""
        made = bench.make()
        path = made.path / "kit.dsse.json"
        envelope = Envelope.parse(path.read_bytes(), "kit")
        signatures = (*envelope.signatures, Signature("../../../escape", b"x"))
        path.write_bytes(replace(envelope, signatures=signatures).to_bytes())
        assert bench.make().signers == made.signers
        assert not list(bench.stick.parent.rglob("*escape*"))

    def test_one_that_was_set_aside_is_kept(self, bench, monkeypatch):
        bob = self.add_bob(bench, 2)
        bench.make()
        with monkeypatch.context() as patch:
            patch.setattr(proof, "prove", fail(MediaError("cannot read back")))
            with pytest.raises(MediaError):
                bench.make(signer=bob)
        assert bench.make().signers == (bench.key.public_key.keyid, bob.public_key.keyid)

    def test_a_stranger(self, bench):
        with pytest.raises(UnknownKeyError):
            bench.make(signer=SigningKey.generate())
        assert bench.ended()["result"] == "refused"
        assert not bench.stick.exists()

    def test_the_root_has_expired(self, bench):
        with pytest.raises(ExpiredError):
            bench.make(now=NOW + timedelta(days=4000))


class TestWheels:
    def test_one_is_missing(self, bench):
        write_stand_ins(bench.wheels)
        next(bench.wheels.glob("rich-*")).unlink()
        with pytest.raises(NotFoundError, match="rich"):
            bench.make()
        assert (bench.ended()["result"], bench.ended()["exit_code"]) == ("failed", 18)
        assert not bench.stick.exists()

    def test_pip_is_missing(self, bench):
        next(bench.wheels.glob("pip-*")).unlink()
        with pytest.raises(NotFoundError, match="pip"):
            bench.make()

    def test_two_targets(self, bench):
        targets = (KitTarget("linux-x86_64", "3.12"), KitTarget("linux-aarch64", "3.13"))
        made = bench.make(targets=targets)
        lists = [name for name in made.statement.subjects if name.startswith("requirements/")]
        assert sorted(lists) == [
            "requirements/linux-aarch64-py3.13.txt",
            "requirements/linux-x86_64-py3.12.txt",
        ]
        assert bench.notes.notes == [f"fetching wheels for {target}" for target in targets]

    def test_two_of_one_name(self, tmp_path):
        found = {}
        for target, content in (
            (KitTarget("linux-x86_64", "3.12"), b"a"),
            (KitTarget("linux-x86_64", "3.13"), b"b"),
        ):
            (tmp_path / str(target)).mkdir()
            path = tmp_path / str(target) / "rich-1-py3-none-any.whl"
            path.write_bytes(content)
            found[target] = [Wheel.at(path)]
        with pytest.raises(IntegrityError, match="two different wheels have the same name"):
            contents(found)

    def test_one_changes_meanwhile(self, tmp_path):
        path = tmp_path / "rich-1-py3-none-any.whl"
        path.write_bytes(b"a")
        wheel = Wheel.at(path)
        path.write_bytes(b"b")
        with pytest.raises(IntegrityError):
            contents({KitTarget("linux-x86_64", "3.12"): [wheel]})

    def test_another_file_in_the_folder(self, bench):
        """pip takes what it knows, and nothing else."""
        (bench.wheels / "notes.txt").write_text("x")
        assert not any("notes" in name for name in bench.make().statement.subjects)

    def test_a_name_that_is_no_wheels(self, tmp_path):
        with pytest.raises(FormatError):
            Wheel.at(tmp_path / "x.txt")


def test_a_medium_that_cannot_be_written(bench):
    bench.stick.write_text("a file")
    with pytest.raises(MediaError):
        bench.make()
    assert Site(bench.site.home).ledger_path.exists()


def fail(error: BaseException):
    def failing(*_):
        raise error

    return failing


class TestMedium:
    """What `airgap pack` asks of a medium."""

    def test_unfit_before_anything_is_fetched(self, bench, monkeypatch):
        monkeypatch.setattr("airgap.online.kit.collect", fail(AssertionError("fetched")))
        with pytest.raises(MediaError, match="no medium is mounted there: /media/no-stick-here"):
            bench.make(to=Path("/media/no-stick-here"))
        assert (bench.ended()["result"], bench.ended()["exit_code"]) == ("failed", 11)
        with pytest.raises(AssertionError, match="fetched"):
            bench.make(to=Path("/media/no-stick-here"), allow_system=True)

    def test_no_room(self, bench, monkeypatch):
        space = SimpleNamespace(f_frsize=1, f_blocks=1 << 30, f_bavail=1 << 20, f_flag=0)
        with monkeypatch.context() as patch:
            patch.setattr("os.statvfs", lambda _: space)
            with pytest.raises(
                NoSpaceError, match=rf"the kit does not fit: {bench.stick}, want .* got 1,048,576"
            ):
                bench.make()
            assert not bench.stick.exists()
        bench.make()
        monkeypatch.setattr("os.statvfs", lambda _: space)
        bench.make()  # all of it is there

    def test_everything_is_read_back_in_the_order_of_the_writes(self, bench, monkeypatch):
        seen = []
        real = proof.read_back

        def read_back(files, *rest):
            seen.extend(files)
            assert (bench.stick / "airgap-kit-0.1.0" / "kit.dsse.json").exists()
            return real(files, *rest)

        monkeypatch.setattr(proof, "read_back", read_back)
        made = bench.make(read_back=True)
        assert {
            file.path.relative_to(made.path).as_posix(): file.path.read_bytes() for file in seen
        } == files_of(made.path)
        assert seen[-1].path.name == "kit.dsse.json"
        assert made.proof.read_back in ("ok", "cached")
        assert bench.ended()["read_back"] == made.proof.read_back
        [medium] = bench.ended()["media"]
        assert medium["mount_point"] == str(made.proof.media[0].mount_point)

    @pytest.mark.parametrize("error", [MediaError("cannot read back"), KeyboardInterrupt()])
    def test_what_could_not_be_read_back_is_no_kit(self, bench, monkeypatch, error):
        before = bench.make()
        with monkeypatch.context() as patch:
            patch.setattr(proof, "prove", fail(error))
            with pytest.raises(type(error)):
                bench.make()
        assert not (before.path / "kit.dsse.json").exists()
        assert files_of(bench.make().path)["kit.dsse.json"]

    def test_the_medium_is_named_first(self, bench, monkeypatch):
        monkeypatch.setattr(Medium, "is_carried", True)
        with_free_space(monkeypatch, lambda: 1 << 40)  # other processes use the disk, too
        made = bench.make(read_back=False)
        assert bench.notes.notes[-1] == f"writing to {made.proof.media[0].describe()}"
        assert (made.proof.read_back, bench.ended()["read_back"]) == ("skipped", "skipped")

    def test_a_file_too_many(self, bench):
        """As a desktop leaves it: `airgap kit verify` would refuse it on the other side."""
        made = bench.make()
        (made.path / ".DS_Store").touch()
        with pytest.raises(UnlistedContentError, match=r"unexpected file: .*/\.DS_Store"):
            bench.make()
        assert not (made.path / "kit.dsse.json").exists()
        (made.path / ".DS_Store").unlink()
        assert bench.make().path == made.path

    @pytest.mark.parametrize("name", ["wheels", "requirements", "sig"])
    def test_a_link_in_the_place_of_a_folder(self, bench, tmp_path, name):
        kit = bench.stick / "airgap-kit-0.1.0"
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "file").touch()
        kit.mkdir(parents=True)
        (kit / name).symlink_to(tmp_path / "mine")
        with pytest.raises(UnlistedContentError, match=f"not a folder: {kit / name}, got a link"):
            bench.make()
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
