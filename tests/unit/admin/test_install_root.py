import json
from dataclasses import replace

import pytest

from airgap.admin.find_root import read_root
from airgap.admin.install_root import install_root
from airgap.errors import AirgapError, FormatError, MissingContentError, TrustError, UsageError
from airgap.site import Site
from airgap.trust.document import Role, RootKey
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot
from tests.support.bundles import DAY, Gap, sign_root

STRANGER = SigningKey.generate()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "new"


def root(gap: Gap, version: int = 1, *signers: SigningKey) -> SignedRoot:
    raw = sign_root(replace(gap.root.root, version=version), *(signers or (gap.key,)))
    return SignedRoot.parse(raw, "root")


def changes(home) -> list[dict]:
    records = [json.loads(line) for line in (home / "ledger.jsonl").read_bytes().splitlines()]
    return [record for record in records if record["phase"] == "end"]


class TestFirst:
    @pytest.mark.parametrize(
        "spell",
        [
            str,
            str.upper,
            lambda text: " ".join(text[i : i + 4] for i in range(0, 64, 4)),
            lambda text: ":".join(text[i : i + 2] for i in range(0, 64, 2)),
            lambda text: f"  {text}\n",
        ],
    )
    def test_installed(self, gap, home, spell):
        done = install_root(home, "plant-7", gap.root, spell(gap.root.fingerprint))
        assert (done.site, done.owners, done.fresh) == ("plant-7", ("alice",), True)
        assert Site(home).root().fingerprint == gap.root.fingerprint
        assert changes(home)[0]["fingerprint"] == gap.root.fingerprint

    @pytest.mark.parametrize(
        ("fingerprint", "error", "words"),
        [
            (None, UsageError, "--fingerprint is missing"),
            ("", UsageError, "not a fingerprint"),
            ("ab" * 31, UsageError, "want 64 hex digits, got 62"),
            ("ab" * 32, TrustError, "wrong fingerprint"),
        ],
    )
    def test_no_trust_on_first_use(self, gap, home, fingerprint, error, words):
        with pytest.raises(error) as caught:
            install_root(home, "plant-7", gap.root, fingerprint)
        assert words in str(caught.value)
        assert not home.exists()

    def test_a_site_without_a_root_keeps_its_name(self, gap, home):
        Site.create(home, "plant-9")
        assert install_root(home, None, gap.root, gap.root.fingerprint).site == "plant-9"

    def test_a_new_site_needs_a_name(self, gap, home):
        with pytest.raises(UsageError, match="--site is missing"):
            install_root(home, None, gap.root, gap.root.fingerprint)
        assert not home.exists()

    def test_a_wrong_name_is_put_right_before_it_was_used(self, gap, home):
        install_root(home, "plant-8", gap.root, gap.root.fingerprint)
        assert install_root(home, "plant-7", gap.root, None).site == "plant-7"
        assert Site(home).name == "plant-7"
        (home / "received").mkdir()
        with pytest.raises(UsageError, match="this folder belongs to another site"):
            install_root(home, "plant-8", gap.root, None)
        assert Site(home).name == "plant-7"

    def test_a_bad_name(self, gap, home):
        with pytest.raises(UsageError, match="not a site name"):
            install_root(home, "../x", gap.root, gap.root.fingerprint)


class TestNext:
    def test_the_same_again(self, gap):
        done = install_root(gap.home, "plant-7", gap.root, None)
        assert not done.fresh

    def test_a_wrong_fingerprint_does_not_rename_the_site(self, gap, home):
        Site.create(home, "plant-9")
        with pytest.raises(TrustError, match="wrong fingerprint"):
            install_root(home, "plant-8", gap.root, "00" * 32)
        assert Site(home).name == "plant-9"
        install_root(home, "plant-8", gap.root, gap.root.fingerprint)
        assert Site(home).name == "plant-8"
        assert changes(home)[-1]["renamed"] == {"from": "plant-9", "to": "plant-8"}

    def test_the_same_again_with_another_fingerprint(self, gap):
        """Who gives one wants it compared; that it was not right is in the ledger."""
        with pytest.raises(TrustError, match="wrong fingerprint"):
            install_root(gap.home, None, gap.root, "00" * 32)
        assert changes(gap.home)[-1]["result"] == "refused"

    def test_a_successor_needs_no_fingerprint(self, gap):
        assert install_root(gap.home, None, root(gap, 2), None).fresh
        assert gap.site.root().root.version == 2
        assert not install_root(gap.home, None, root(gap, 2), None).fresh
        assert changes(gap.home)[-1]["event"] == "trust-change"

    @pytest.mark.parametrize("version", [1, 3, 9])
    def test_not_the_next(self, gap, version):
        later = replace(gap.root.root, expires=gap.root.root.expires + DAY)
        other = root(gap, version) if version > 1 else SignedRoot.parse(sign_root(later, gap.key), "x")
        with pytest.raises(TrustError) as caught:
            install_root(gap.home, "plant-7", other, other.fingerprint)
        assert "does not follow the installed trust root" in str(caught.value)
        assert sorted(gap.site.roots()) == [1]

    def test_by_a_stranger(self, gap):
        keyid = STRANGER.public_key.keyid
        role = Role(frozenset({keyid}), 1, distinct_owners=False)
        own = replace(
            gap.root.root,
            version=2,
            keys={keyid: RootKey(STRANGER.public_key, "mallory")},
            roles=dict.fromkeys(gap.root.root.roles, role),
            sites={},
        )
        other = SignedRoot.parse(sign_root(own, STRANGER), "x")
        with pytest.raises(TrustError):
            install_root(gap.home, "plant-7", other, other.fingerprint)
        assert sorted(gap.site.roots()) == [1]


class TestRead:
    def test_from_a_file(self, gap, tmp_path):
        path = tmp_path / "1.root.json"
        path.write_bytes(gap.root.raw)
        assert read_root(path).fingerprint == gap.root.fingerprint

    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            (b"", FormatError),
            (b"{}", FormatError),
            (None, MissingContentError),
            (b"x" * ((16 << 20) + 1), AirgapError),
        ],
    )
    def test_refused(self, tmp_path, raw, error):
        if raw is not None:
            (tmp_path / "root").write_bytes(raw)
        with pytest.raises(error):
            read_root(tmp_path / "root")

    def test_a_bundles_envelope_is_not_a_root(self, gap):
        with pytest.raises(FormatError, match="not a trust root"):
            read_root(gap.bundle / "bundle.dsse.json")
