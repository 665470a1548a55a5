"""The state of several senders in one home."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, TrustError, UsageError
from airgap.oci.name_rules import NameRule, NameRules
from airgap.sender_state import MarkKind, SenderSettings
from airgap.site import Mark, Site
from tests.support.bundles import make_gap

MARK, OTHER = Mark(1, 7, "a" * 64), Mark(2, 1, "b" * 64)
RULES = NameRules((NameRule(("registry.vendor/*",)), NameRule(("*",), "docker")))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.create(tmp_path / "home", "plant-7")


def test_marks_and_envelopes_are_kept_apart(site: Site):
    vendor = site.from_sender("vendor")
    site.set_received("edge", MARK)
    vendor.set_received("edge", OTHER)
    vendor.keep_envelope("edge", 1, 1, b"x", MarkKind.RECEIVED)
    assert (site.received("edge"), vendor.received("edge")) == (MARK, OTHER)
    assert site.kept_envelopes(MarkKind.RECEIVED) == []
    assert [path.relative_to(site.home).as_posix() for path in vendor.kept_envelopes(MarkKind.RECEIVED)] == [
        "senders/vendor/received/edge/0001.dsse.json"
    ]


def test_what_is_sealed_here_is_in_the_home_whoever_is_chosen(site: Site):
    site.from_sender("vendor").set_sent("edge", MARK)
    assert site.sent("edge") == MARK
    assert (site.home / "sent" / "edge.json").exists()


def test_the_folders_of_a_sender_are_private(site: Site):
    site.from_sender("vendor").set_received("edge", MARK)
    for name in ("senders", "senders/vendor", "senders/vendor/received"):
        assert stat.S_IMODE((site.home / name).stat().st_mode) == 0o700


def test_a_sender_counts_once_its_settings_are_there(site: Site):
    vendor = site.from_sender("vendor")
    vendor.set_received("edge", MARK)
    assert not site.has_several_senders
    vendor.set_settings(SenderSettings("vendor", RULES))
    assert site.other_senders() == ["vendor"]
    assert [sender.sender_name for sender in site.each_sender()] == ["default", "vendor"]
    assert vendor.settings == SenderSettings("vendor", RULES)


def test_the_first_sender_may_set_every_name_until_it_is_restricted(site: Site):
    assert site.settings == SenderSettings("default", None)
    site.set_settings(SenderSettings("hq", RULES))
    assert site.sender_name == "hq"
    assert (site.home / "sender.json").exists()


def test_too_many_senders_and_too_many_rules_are_refused(site: Site):
    for number in range(65):
        site.from_sender(f"s{number}").set_settings(SenderSettings("s", RULES))
    with pytest.raises(UsageError, match="too many senders"):
        site.each_sender()
    patterns = tuple(f"registry.example/{'a' * 300}{number}" for number in range(256))
    with pytest.raises(UsageError, match="too many rules"):
        SenderSettings("s", NameRules((NameRule(patterns),))).to_bytes()


@pytest.mark.parametrize("name", ["A", "..", "a/b", "-a", "a" * 64, "a\n", "ä"])
def test_what_is_not_a_name_has_no_folder(site: Site, name: str):
    with pytest.raises(UsageError):
        site.from_sender(name)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b'{"version":2,"name":"a","rules":[]}', b'{"version":1,"name":"A","rules":[]}',
        b'{"version":1,"name":"a","rules":{}}', b'{"version":1,"name":"a","rules":[],"x":1}',
        b'{"version":1,"name":"a","name":"b","rules":[]}', b'{"version":1,"Name":"a","rules":[]}',
    ],
    ids=["empty", "list", "no keys", "version", "name", "rules", "more", "twice", "case"],
)  # fmt: skip
def test_settings_of_another_form_are_refused(raw: bytes):
    with pytest.raises(AirgapError):
        SenderSettings.from_bytes(raw, "sender.json")


@settings(max_examples=25)
@given(st.binary(max_size=60))
def test_any_bytes_are_settings_or_refused(raw: bytes):
    try:
        SenderSettings.from_bytes(raw, "sender.json")
    except AirgapError:
        return
    raise AssertionError(raw)


def test_a_root_with_a_key_of_another_sender_is_not_installed(tmp_path: Path):
    gap = make_gap(tmp_path)
    vendor = gap.site.from_sender("vendor")
    vendor.set_settings(SenderSettings("vendor", RULES))
    with pytest.raises(TrustError, match="belongs to the sender default"):
        vendor.install_root(gap.root)
    with pytest.raises(TrustError, match="belongs to the sender default"):
        vendor.put_root_back(gap.root)
    assert vendor.roots() == {}
