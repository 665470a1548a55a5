"""A recall that arrives while a bundle is in use, and what it costs to look for one."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.carry.recall_watch import RecallWatch
from airgap.carry.verify import VerifiedBundle
from airgap.errors import MediaError, RecalledError
from airgap.site import Site
from airgap.trust.root import SignedRoot
from tests.support.bundles import sign_root
from tests.unit.carry.test_recalled import recall_of


@pytest.fixture
def site(gap) -> Site:
    gap.site.install_root(gap.receiver().root)
    return gap.site


def install(gap, *recalls) -> None:
    root = gap.site.root().root
    newer = replace(root, version=root.version + 1, recalled=recalls)
    gap.site.install_root(SignedRoot.parse(sign_root(newer, gap.key), "root"))


def test_a_recall_is_noticed_and_stays(gap, site: Site, bundle: VerifiedBundle):
    watch = RecallWatch(bundle, site)
    watch.check()
    install(gap, recall_of(gap))
    for _ in range(2):
        with pytest.raises(RecalledError, match="leaks"):
            watch.check()


def test_other_roots_change_nothing(gap, site: Site, bundle: VerifiedBundle):
    watch = RecallWatch(bundle, site)
    watch.check()
    install(gap, recall_of(gap, statement_sha256="0" * 64))
    watch.check()
    install(gap, recall_of(gap, statement_sha256="0" * 64), recall_of(gap))
    with pytest.raises(RecalledError):
        watch.check()


def test_roots_are_read_again_only_if_one_was_added(gap, site: Site, bundle: VerifiedBundle, monkeypatch):
    watch = RecallWatch(bundle, site)
    watch.check()
    reads: list[Path] = []
    monkeypatch.setattr(Site, "root", lambda found: reads.append(found.folder) or gap.receiver().root)
    watch.check()
    assert not reads
    (site.folder / "trust" / "7.root.json").touch()
    watch.check()
    assert reads


def test_a_site_that_cannot_be_read_is_an_error(site: Site, bundle: VerifiedBundle):
    watch = RecallWatch(bundle, site)
    watch.check()
    (site.folder / "trust").rename(site.folder / "elsewhere")
    with pytest.raises(MediaError, match="cannot read"):
        watch.check()
