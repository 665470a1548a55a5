import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.errors import (
    AirgapError,
    FormatError,
    KeyFileError,
    MediaError,
    NoTrustRootError,
    TrustError,
    UsageError,
)
from airgap.site import Mark, Site, default_home, now
from airgap.trust.keys import SigningKey
from airgap.workers import run_all
from tests.support.bundles import Gap, make_gap, sign_root

MARK = Mark(2, 7, "a" * 64)


class PowerCut(BaseException):
    """Nothing is done any more."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.create(tmp_path / "home", "plant-7")


class TestHome:
    def test_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("AIRGAP_HOME", "/srv/airgap")
        assert default_home() == Path("/srv/airgap")

    @pytest.mark.parametrize("unset", ["", None])
    def test_the_platforms(self, monkeypatch, unset):
        if unset is None:
            monkeypatch.delenv("AIRGAP_HOME")
        else:
            monkeypatch.setenv("AIRGAP_HOME", unset)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setenv("XDG_DATA_HOME", "/data")
        assert default_home() == Path("/data/airgap")
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", "/home/x")
        assert default_home() == Path("/home/x/.local/share/airgap")
        monkeypatch.setattr("sys.platform", "darwin")
        assert default_home() == Path("/home/x/Library/Application Support/airgap")


def test_now_is_in_whole_seconds_of_utc():
    assert now().microsecond == 0
    assert now().utcoffset().total_seconds() == 0


class TestCreate:
    def test_new(self, site):
        assert site.name == "plant-7"
        assert stat.S_IMODE(site.home.stat().st_mode) == 0o700
        assert stat.S_IMODE((site.home / "site.key").stat().st_mode) == 0o600
        assert (site.home / "site.pub").read_text() == site.key.public_key.pem

    def test_again_opens_it(self, site):
        keyid = site.key.public_key.keyid
        assert Site.create(site.home, "plant-7").key.public_key.keyid == keyid

    def test_power_that_is_cut_while_the_key_is_written(self, tmp_path, monkeypatch):
        def cut(fd):
            if "site.key" in str(Path(f"/proc/self/fd/{fd}").readlink()):
                os.truncate(f"/proc/self/fd/{fd}", 0)
                raise PowerCut

        monkeypatch.setattr(os, "fsync", cut)
        with pytest.raises(PowerCut):
            Site.create(tmp_path / "home", "plant-7")
        monkeypatch.undo()
        assert Site.create(tmp_path / "home", "plant-7").key

    @pytest.mark.parametrize("lost", ["site.json", "site.pub"])
    def test_interrupted(self, site, lost):
        keyid = site.key.public_key.keyid
        (site.home / lost).unlink()
        (site.home / "site.json").unlink(missing_ok=True)
        again = Site.create(site.home, "plant-7")
        assert again.key.public_key.keyid == keyid
        assert (site.home / "site.pub").read_text() == again.key.public_key.pem

    @pytest.mark.parametrize("used", ["keys", "sent", "received", "receipts"])
    def test_another_name(self, site, used):
        (site.home / used).mkdir()
        with pytest.raises(UsageError, match="this folder belongs to another site") as caught:
            Site.create(site.home, "plant-8")
        assert "AIRGAP_HOME" in caught.value.hint

    def test_a_slip_of_the_name_is_put_right(self, site):
        assert Site.create(site.home, "plant-8").name == "plant-8"
        assert Site(site.home).name == "plant-8"

    @pytest.mark.parametrize("name", ["", "Plant", "a b", "../x", "a" * 64, "a\n", "-a", "ä"])
    def test_bad_name(self, tmp_path, name):
        with pytest.raises(UsageError, match="not a site name"):
            Site.create(tmp_path / "x", name)
        assert not (tmp_path / "x").exists()

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "x").write_bytes(b"")
        with pytest.raises(MediaError, match="cannot create"):
            Site.create(tmp_path / "x" / "y", "plant-7")


class TestOpen:
    def test_none(self, tmp_path):
        with pytest.raises(UsageError, match="there is no site here yet") as caught:
            Site(tmp_path)
        assert "airgap trust install" in caught.value.hint

    @pytest.mark.parametrize(
        "raw", [b"", b"[]", b"{}", b'{"site":7}', b'{"site":"a","site":"b"}', b" " * ((4 << 20) + 1)]
    )
    def test_damaged(self, site, raw):
        (site.home / "site.json").write_bytes(raw)
        with pytest.raises(FormatError, match=r"site\.json"):
            Site(site.home)

    def test_unreadable(self, site):
        (site.home / "site.json").unlink()
        (site.home / "site.json").mkdir()
        with pytest.raises(TrustError, match="not a regular file"):
            Site(site.home)

    def test_the_sites_key_is_not_encrypted(self, site):
        (site.home / "site.key").unlink()
        SigningKey.generate().save(site.home / "site.key", b"secret")
        with pytest.raises(KeyFileError, match="must not be encrypted"):
            _ = site.key


class TestKeys:
    def test_kept_encrypted(self, site):
        key = SigningKey.generate("ed25519")
        path = site.add_key("alice", key, b"secret")
        assert path == site.key_path("alice")
        assert b"ENCRYPTED" in path.read_bytes()
        assert site.public_keys() == {"alice": key.public_key}
        assert site.signing_key(None, lambda: b"secret").public_key == key.public_key
        assert site.signing_key("alice", lambda: b"secret").public_key == key.public_key

    def test_which(self, site):
        with pytest.raises(KeyFileError, match="no signing key") as caught:
            site.signing_key(None, bytes)
        assert "airgap key generate" in caught.value.hint
        for owner in ("alice", "bob"):
            site.add_key(owner, SigningKey.generate(), b"s")
        with pytest.raises(KeyFileError, match="got alice, bob") as caught:
            site.signing_key(None, bytes)
        assert "--key OWNER" in caught.value.hint
        assert site.signing_key("bob", lambda: b"s").public_key == site.public_keys()["bob"]

    def test_never_overwritten(self, site):
        key = SigningKey.generate()
        site.add_key("alice", key, b"s")
        with pytest.raises(KeyFileError, match="never overwritten"):
            site.add_key("alice", SigningKey.generate(), b"s")
        assert site.public_keys()["alice"] == key.public_key

    @pytest.mark.parametrize("syncs", range(5))
    def test_power_that_is_cut(self, site, monkeypatch, syncs):
        """What was not synced is lost: a private key has its name when it is whole, and has its public half."""
        sync = os.fsync
        done = 0

        def cut(fd):
            nonlocal done
            if done == syncs:
                os.truncate(f"/proc/self/fd/{fd}", 0) if stat.S_ISREG(os.fstat(fd).st_mode) else None
                raise PowerCut
            done += 1
            sync(fd)

        (site.home / "keys").mkdir()
        monkeypatch.setattr(os, "fsync", cut)
        with pytest.raises(PowerCut):
            site.add_key("alice", SigningKey.generate(), b"s")
        monkeypatch.undo()
        if not site.key_path("alice").exists():
            site.add_key("alice", SigningKey.generate(), b"s")
        assert site.signing_key("alice", lambda: b"s").public_key == site.public_keys()["alice"]

    @pytest.mark.parametrize("owner", ["", "../x", "a/b", ".x", "a b", "a\n", "ä", "x" * 64])
    def test_bad_owner(self, site, owner):
        with pytest.raises(UsageError, match="not a key name"):
            site.key_path(owner)

    def test_a_damaged_public_key(self, site):
        site.add_key("alice", SigningKey.generate(), b"s")
        (site.home / "keys" / "alice.pub").write_bytes(b"x")
        with pytest.raises(FormatError, match=r"alice\.pub"):
            site.public_keys()

    def test_a_file_for_the_folder(self, site):
        (site.home / "keys").write_bytes(b"")
        with pytest.raises(MediaError, match="cannot create"):
            site.add_key("alice", SigningKey.generate(), b"s")


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"))


class TestRoots:
    def test_none(self, site):
        assert site.roots() == {}
        with pytest.raises(NoTrustRootError) as caught:
            site.root()
        assert "airgap trust install" in caught.value.hint

    def put(self, site, gap, *versions, names=()):
        (site.home / "trust").mkdir(exist_ok=True)
        for version in versions:
            raw = sign_root(replace(gap.root.root, version=version), gap.key)
            (site.home / "trust" / f"{version}.root.json").write_bytes(raw)
        for name in names:
            (site.home / "trust" / name).write_bytes(b"x")

    @pytest.mark.parametrize("versions", [(1,), (1, 2, 3), (4, 5), (9, 10, 11)])
    def test_the_newest(self, site, gap, versions):
        self.put(site, gap, *versions, names=("0.root.json", "01.root.json", "x.root.json"))
        assert list(site.roots()) == list(versions)
        assert site.root().root.version == versions[-1]

    def test_one_is_missing(self, site, gap):
        self.put(site, gap, 1, 3)
        with pytest.raises(TrustError, match="do not follow one another"):
            site.root()

    def test_one_is_forged(self, site, gap):
        self.put(site, gap, 1)
        raw = sign_root(replace(gap.root.root, version=2), SigningKey.generate())
        (site.home / "trust" / "2.root.json").write_bytes(raw)
        with pytest.raises(TrustError):
            site.root()


class TestMarks:
    @pytest.mark.parametrize("kind", ["sent", "received"])
    def test_kept(self, site, kind):
        read, write = getattr(site, kind), getattr(site, f"set_{kind}")
        assert read("edge") is None
        write("edge", MARK)
        assert getattr(Site(site.home), kind)("edge") == MARK
        write("edge", replace(MARK, serial=8))
        assert read("edge").serial == 8
        assert read("other") is None

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{}",
            b'{"epoch":2,"serial":7}',
            b'{"epoch":2,"serial":-7,"statement_sha256":"%s"}' % (b"a" * 64),
            b'{"epoch":2,"serial":7,"statement_sha256":"x"}',
            b'{"epoch":2,"serial":7,"statement_sha256":"%s","x":1}' % (b"a" * 64),
        ],
    )
    def test_damaged(self, site, raw):
        """Not to know what was accepted is no reason to accept anything."""
        site.set_received("edge", MARK)
        (site.home / "received" / "edge.json").write_bytes(raw)
        with pytest.raises(AirgapError):
            site.received("edge")

    def test_a_full_disk(self, site, monkeypatch):
        site.set_received("edge", MARK)

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(MediaError):
            site.set_received("edge", replace(MARK, serial=8))
        assert site.received("edge") == MARK


def test_ledger(site):
    site.ledger().append("verify", "note", path="x")
    assert b'"site":"plant-7"' in site.ledger_path.read_bytes()


class TestReceipts:
    def test_kept_and_what_was_left_behind_is_gone(self, site):
        folder = site.home / "receipts"
        folder.mkdir()
        (folder / "edge-0001-3.receipt.json.part").write_bytes(b"killed")
        path = site.keep_receipt("edge-0001-5.receipt.json", b"receipt")
        assert list(folder.iterdir()) == [path]
        assert path.read_bytes() == b"receipt"

    def test_a_file_for_the_folder(self, site):
        (site.home / "receipts").touch()
        with pytest.raises(MediaError, match="cannot create"):
            site.keep_receipt("edge-0001-5.receipt.json", b"receipt")


def test_a_lock_that_cannot_be_closed_spoils_nothing(site, monkeypatch):
    real = os.close

    def close(fd):
        real(fd)
        raise OSError(5, "bad")

    with monkeypatch.context() as patch, site.packing("edge"):
        patch.setattr(os, "close", close)
    with site.packing("edge"):
        pass


def test_loads_at_once_raise_the_mark_one_after_the_other(tmp_path):
    """Many threads with the same home: none meets another's half-written file, and no mark falls."""
    Site.create(tmp_path / "home", "plant-7")
    together = threading.Barrier(8)

    def accept(serial):
        site = Site(tmp_path / "home")
        together.wait(120)
        for number in range(serial, 41, 8):
            with site.receiving():
                before = site.received("edge")
                if before is None or before.serial < number:
                    site.set_received("edge", Mark(1, number, MARK.statement_sha256))

    errors = run_all(accept, range(1, 9), 8)
    assert errors == [None] * 8
    assert Site(tmp_path / "home").received("edge").serial == 40
