"""A site is made in one step, or finished, or left as it is."""

import pytest

from airgap.admin.init_site import ROOT_LIFETIME, set_up
from airgap.errors import KeyFileError, UsageError
from airgap.site import Site
from tests.unit.online.support import NOW


def make(home, **fields):
    usual = {"algorithm": "ecdsa-p256", "passphrase": lambda: b"secret", "now": NOW}
    return set_up(home, fields.pop("owner", "alice"), fields.pop("name", "hq"), **(usual | fields))


def test_what_is_made(tmp_path):
    made = make(tmp_path)
    signed = Site(tmp_path).root()
    assert made.fingerprint == signed.fingerprint
    assert signed.root.expires == NOW + ROOT_LIFETIME
    assert signed.root.roles["release"].keyids == {made.keyid}
    assert signed.root.keys[made.keyid].owner == "alice"
    assert made.root_path.read_bytes() == signed.raw
    assert made.key_path.exists()


@pytest.mark.parametrize("algorithm", ["ecdsa-p384", "ed25519"])
def test_algorithms(tmp_path, algorithm):
    made = make(tmp_path, algorithm=algorithm)
    assert Site(tmp_path).root().root.keys[made.keyid].public_key.algorithm == algorithm


def test_an_interrupted_one_is_finished_with_the_same_keys(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Site, "install_root", killed)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    before = (tmp_path / "keys" / "alice.pem").read_bytes(), (tmp_path / "site.key").read_bytes()
    make(tmp_path)
    assert before == ((tmp_path / "keys" / "alice.pem").read_bytes(), (tmp_path / "site.key").read_bytes())


def test_a_root_is_never_replaced(tmp_path):
    make(tmp_path)
    before = (tmp_path / "trust" / "1.root.json").read_bytes()
    with pytest.raises(UsageError, match="already set up"):
        make(tmp_path, owner="bob")
    assert (tmp_path / "trust" / "1.root.json").read_bytes() == before


def test_a_key_of_another_passphrase(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Site, "install_root", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(tmp_path)
    with pytest.raises(KeyFileError, match="cannot decrypt"):
        make(tmp_path, passphrase=lambda: b"other")
    assert Site(tmp_path).roots() == {}
