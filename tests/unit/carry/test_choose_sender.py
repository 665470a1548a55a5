"""From which sender a bundle is, by the key ids in its envelope and the roots that are known."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.choose_sender import site_for, site_of
from airgap.carry.verify_recorded import keep_root
from airgap.errors import TrustError
from airgap.oci.name_rules import NameRules
from airgap.sender_state import SenderSettings
from airgap.site import Site
from airgap.trust.envelope import Signature
from tests.support.bundles import Gap, make_gap, sign_root
from tests.support.images import simple_image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gap, Gap]:
    """Two sending sides; the receiving site of the first one also knows the second one, as `vendor`."""
    first, second = (
        make_gap(tmp_path_factory.mktemp(name), images={"example.com/a:1": simple_image(name)})
        for name in ("first", "second")
    )
    vendor = first.site.from_sender("vendor")
    keep_root(vendor, second.root)
    vendor.set_settings(SenderSettings("vendor", NameRules()))
    return first, second


@pytest.fixture
def both(made: tuple[Gap, Gap], tmp_path: Path) -> tuple[Gap, Gap]:
    return made[0].copy(tmp_path / "first"), made[1].copy(tmp_path / "second")


def chosen(bundle: Path, site: Site) -> str:
    return site_for(bundle, site).sender


def test_the_keys_decide(both: tuple[Gap, Gap]):
    first, second = both
    assert chosen(first.bundle, first.site) == ""
    assert chosen(second.bundle, first.site) == "vendor"
    assert chosen(second.bundle, second.site) == ""
    with Folder(second.bundle) as folder:
        assert site_of(folder, first.site).root().fingerprint == second.root.fingerprint


@pytest.mark.parametrize("harm", ["no envelope", "no JSON", "no folder"])
def test_what_cannot_be_read_is_left_to_verification(both: tuple[Gap, Gap], harm: str):
    first, second = both
    path = second.bundle / "bundle.dsse.json"
    if harm == "no JSON":
        path.write_bytes(b"{")
    elif harm == "no envelope":
        path.unlink()
    else:
        shutil.rmtree(second.bundle)
    assert chosen(second.bundle, first.site) == ""


def test_key_ids_of_two_senders_are_refused_and_recorded(both: tuple[Gap, Gap]):
    first, second = both
    signature = Signature(first.key.public_key.keyid, b"x" * 70)
    envelope = second.envelope
    second.put_envelope(replace(envelope, signatures=(*envelope.signatures, signature)))
    with pytest.raises(TrustError, match=r"signed by keys of several senders.*default, vendor"):
        site_for(second.bundle, first.site)
    assert b'"result":"refused"' in first.site.ledger_path.read_bytes().splitlines()[-1]


def test_a_new_key_is_known_by_the_root_on_the_medium_and_nothing_is_kept(both: tuple[Gap, Gap]):
    first, second = both
    extra = first.key.generate()
    root = replace(
        second.root.root,
        version=2,
        keys={
            **second.root.root.keys,
            extra.public_key.keyid: replace(
                next(iter(second.root.root.keys.values())), public_key=extra.public_key, owner="new"
            ),
        },
        roles={
            **second.root.root.roles,
            "release": replace(second.root.root.roles["release"], keyids=frozenset({extra.public_key.keyid})),
        },
    )
    (second.bundle / "trust" / "2.root.json").write_bytes(sign_root(root, second.key))
    second.put_envelope(second.envelope.sign(second.envelope.payload_type, second.envelope.payload, [extra]))
    assert chosen(second.bundle, first.site) == "vendor"
    assert list(first.site.from_sender("vendor").roots()) == [1]


def test_installed_roots_count_before_those_on_the_medium(both: tuple[Gap, Gap]):
    """A sender whose next root takes the key of another one does not make that one's bundles ambiguous."""
    first, second = both
    theirs = first.root.root
    root = replace(
        second.root.root,
        version=2,
        keys={**second.root.root.keys, **theirs.keys},
        roles={
            **second.root.root.roles,
            "release": replace(
                second.root.root.roles["release"],
                keyids=second.root.root.roles["release"].keyids | theirs.roles["release"].keyids,
            ),
        },
    )
    (first.bundle / "trust" / "2.root.json").write_bytes(sign_root(root, second.key))
    assert chosen(first.bundle, first.site) == ""
