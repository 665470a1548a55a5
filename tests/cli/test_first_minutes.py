"""The first minutes: images on the command line, a site that `pack` sets up, and passphrases that are asked last."""

import getpass
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import PASSPHRASE, Gap, Side, files_of
from tests.cli.sources import API, BOTH, tight
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry

WEB = simple_image("web")
NEW = simple_image("a later api")


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)  # no waiting between tries
    with FakeRegistry() as registry:
        registry.add("acme/api", "1", API)
        registry.add("acme/web", "2", WEB)
        yield registry


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A person at a terminal, who knows the passphrase; the questions about it."""
    questions: list[str] = []

    def answer(question: str, stream: object = None) -> str:
        questions.append(question)
        return PASSPHRASE

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.delenv("AIRGAP_PASSPHRASE")
    return questions


# -- images on the command line


def test_images_are_packed_without_a_manifest(gap: Gap, fake: FakeRegistry) -> None:
    images = [f"{fake.host}/acme/api:1", f"{fake.host}/acme/web:2"]
    done = gap.online("pack", *images, "--to", "stick")
    assert "sealed: stick/api-web-0001" in done.out
    assert "written: api-web.yaml and api-web.lock.yaml" in done.err
    assert yaml.safe_load(Path("api-web.yaml").read_text()) == {
        "version": 1,
        "name": "api-web",
        "images": images,
    }
    before = files_of(gap.folder)
    again = gap.online("pack", *images, "--to", "stick")
    assert "already sealed, and checked completely: stick/api-web-0001" in again.out
    assert "as locked in api-web.lock.yaml" in again.err
    by_manifest = gap.online("pack", "api-web.yaml", "--to", "stick", "--json").json
    assert (by_manifest["serial"], by_manifest["fresh"]) == (1, False)
    ours = {name: raw for name, raw in files_of(gap.folder).items() if not name.startswith("hq/")}
    assert ours == {name: raw for name, raw in before.items() if not name.startswith("hq/")}
    gap.offline("load", "stick/api-web-0001", "--to", "oci:out")


def test_the_lock_holds_when_the_tag_of_a_named_image_moves(gap: Gap, fake: FakeRegistry) -> None:
    image = f"{fake.host}/acme/api:1"
    gap.online("pack", image, "--to", "stick", "--name", "weekly")
    fake.add("acme/api", "1", NEW)
    kept = gap.online("pack", image, "--to", "stick", "--name", "weekly", "--json").json
    assert (kept["serial"], kept["images"][0]["digest"]) == (1, str(API.descriptor.digest))
    moved = gap.online("lock", image, "--name", "weekly", "--update", "all", "--json").json
    assert moved["relocked"] == [
        {"reference": image, "was": str(API.descriptor.digest), "now": str(NEW.descriptor.digest)}
    ]
    next_one = gap.online("pack", image, "--to", "stick", "--name", "weekly", "--json").json
    assert (next_one["serial"], next_one["images"][0]["digest"]) == (2, str(NEW.descriptor.digest))


def test_other_images_of_the_same_name_replace_the_manifest(gap: Gap, fake: FakeRegistry) -> None:
    """And the image that is named again stays as it was locked."""
    fake.add("acme/web", "3", simple_image("web 3"))
    gap.online("pack", f"{fake.host}/acme/api:1", f"{fake.host}/acme/web:2", "--to", "stick")
    fake.add("acme/api", "1", NEW)
    done = gap.online(
        "pack", f"{fake.host}/acme/api:1", f"{fake.host}/acme/web:3", "--to", "stick", "--json"
    ).json
    assert (done["serial"], done["images"][0]["digest"]) == (2, str(API.descriptor.digest))
    assert f"{fake.host}/acme/web:3" in Path("api-web.yaml").read_text()


def test_a_manifest_that_was_edited_is_never_replaced(gap: Gap, fake: FakeRegistry) -> None:
    gap.online("pack", f"{fake.host}/acme/api:1", "--to", "stick")
    path = Path("api.yaml")
    edited = path.read_text() + "transfer: {ticket: CHG-7}\n"
    path.write_text(edited)
    done = gap.online("pack", f"{fake.host}/acme/api:1", "--to", "stick", code=2)
    assert "error: a file of that name has other content: api.yaml" in done.err
    assert "hint: run `airgap pack api.yaml`" in done.err
    assert path.read_text() == edited
    gap.online("pack", "api.yaml", "--to", "stick")  # the lock is still of these images
    assert gap.online.records()[-2]["transfer"] == ["ticket=CHG-7"]


def test_plan_of_named_images_writes_nothing(gap: Gap, fake: FakeRegistry) -> None:
    before = files_of(gap.folder)
    plan = gap.online("plan", f"{fake.host}/acme/api:1", "--json").json
    assert (plan["name"], plan["blobs"]) == ("api", len(API.contents))
    assert files_of(gap.folder) == before


def test_nothing_is_written_when_an_image_is_missing(gap: Gap, fake: FakeRegistry) -> None:
    done = gap.online("pack", f"{fake.host}/acme/api:1", f"{fake.host}/acme/none:1", "--to", "stick", code=18)
    assert "acme/none" in done.err
    assert not Path("api-none.yaml").exists()
    assert not Path("api-none.lock.yaml").exists()
    gap.online(
        "pack",
        f"{fake.host}/acme/api:1",
        f"{fake.host}/acme/none:1",
        "--to",
        "stick",
        "--allow-partial",
        code=3,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nginx"], "no such file or folder: nginx, want a manifest, or images with a tag or digest\nhint: the image is written `nginx:latest`"),
        (["nginx:1.27", "redis"], "no such file or folder: redis"),
        (["stack.yaml", "redis:7"], "not an image: stack.yaml, want images only, or one manifest"),
        (["stack.yaml", "stack.yaml"], "more than one manifest, want one manifest, or images"),
        (["nginx:1.27", "--name", "Not A Name"], "not a name: the images on the command line"),
        (["stack.yaml", "--name", "other"], "the manifest names its stream: stack.yaml"),
        (["nginx:1.27", "--transfer", "ticket"], "not a transfer value: ticket, want KEY=VALUE, as in ticket=CHG-7"),
        (["nginx:1.27", "--transfer", "ticket="], "not a transfer value"),
        (["nginx:1.27", "--transfer", "Ticket=1"], "not a key: Ticket=1, want lower-case"),
        (["nginx:1.27", "--transfer", "ticket=1\t2"], "not a plain line of text"),
        (["nginx:1.27", "--transfer", "a=1", "--transfer", "a=2"], "the transfer value is stated twice: a, got 1, 2"),
    ],
)  # fmt: skip
def test_words_that_are_neither_are_refused(gap: Gap, words: list[str], message: str) -> None:
    gap.manifest("nginx:1.27")
    assert message in gap.online("pack", *words, "--to", "stick", code=2).err
    assert not Path("stick").exists()


def test_a_path_that_exists_is_a_manifest(gap: Gap) -> None:
    """Whatever it is called."""
    gap.layout(api=API).rename("stack:1")
    assert gap.online("pack", "stack:1", "--to", "stick", "--json").json["stream"] == "stack"


# -- transfer


def test_transfer_on_the_command_line_overrides_the_manifest(gap: Gap) -> None:
    gap.layout(**BOTH)
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "transfer: {ticket: CHG-6, approver: carol}\n")
    gap.online("lock", path)
    gap.online("pack", path, "--to", "stick", "--transfer", "ticket=CHG-7", "--transfer", "class=open=1")
    shown = gap.offline("inspect", "stick/stack-0001", "--json").json
    assert shown["transfer"] == {"ticket": "CHG-7", "approver": "carol", "class": "open=1"}
    assert sorted(gap.online.records()[-2]["transfer"]) == ["approver=carol", "class=open=1", "ticket=CHG-7"]
    same = (
        "pack",
        path,
        "--to",
        "stick",
        "--transfer",
        "class=open=1",
        "--transfer",
        "ticket=CHG-7",
        "--json",
    )
    assert gap.online(*same).json["fresh"] is False
    other = gap.online("pack", path, "--to", "stick", "--transfer", "ticket=CHG-8", "--json").json
    assert (other["serial"], other["fresh"]) == (2, True)


# -- passphrases are asked last


def test_the_passphrase_is_asked_when_all_content_is_there(gap: Gap, asked: list[str]) -> None:
    gap.layout(**BOTH)
    gap.online("pack", "stack.yaml", "--to", "stick")
    assert asked == ["Passphrase of the signing key: "]
    gap.online("pack", "stack.yaml", "--to", "stick")  # it has the signature
    assert len(asked) == 1


def test_pack_fails_before_it_asks(gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gap.layout(**BOTH)
    gap.online("pack", gap.manifest("{oci: source, ref: example.com/none:1}"), "--to", "stick", code=18)
    gap.layout(**BOTH)
    gap.online("pack", "stack.yaml", "--to", "/media/airgap-no-such-stick", code=11)
    layer = next(iter(API.layers))
    blob = gap.folder / "source" / layer.path
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    gap.online("pack", "stack.yaml", "--to", "stick", code=12)
    with monkeypatch.context() as patch:
        tight(patch, 10)
        gap.online("pack", "stack.yaml", "--to", "elsewhere", code=11)
    (gap.online.home / "keys" / "alice.pem").chmod(0o644)
    gap.online("pack", "stack.yaml", "--to", "stick", code=13)
    assert asked == []


def test_sign_and_trust_fail_before_they_ask(
    gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE)
    bundle = gap.pack()
    gap.online("key", "generate", "bob")
    Path("bob.pub").write_text(gap.online("key", "show", "bob").out)
    monkeypatch.delenv("AIRGAP_PASSPHRASE")
    bob = Path("bob.pub")
    keyid = gap.online("key", "list", "--json").json["keys"][1]["keyid"]
    assert "this key may not sign bundles" in gap.online("sign", bundle, "--key", "bob", code=13).err
    gap.online("trust", "add", "bob", "--key", bob, "--keyid", "0" * 64, code=13)
    gap.online("trust", "revoke", "nobody", code=2)
    blob = min((bundle / "blobs" / "sha256").iterdir())
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    gap.online("sign", bundle, "--key", "alice", code=12)
    assert asked == []
    gap.online("trust", "add", "bob", "--key", bob, "--keyid", keyid, "--role", "root")
    gap.online("trust", "threshold", "root", "2", "--signer", "alice")
    assert asked == ["Passphrase of the key of alice: "] * 2
    assert Path("3.root.proposal.json").exists()
    done = gap.online("trust", "threshold", "root", "2", "--signer", "alice", code=2)
    assert "the file already exists" in done.err
    assert len(asked) == 2


def test_a_wrong_passphrase_is_asked_again(
    gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["wrong", PASSPHRASE, "wrong", "wrong", "wrong"]
    monkeypatch.setattr(getpass, "getpass", lambda question, stream: asked.append(question) or answers.pop(0))
    gap.layout(**BOTH)
    done = gap.online("pack", "stack.yaml", "--to", "stick")
    assert "that is not the passphrase of the key; try again" in done.err
    done = gap.online("trust", "rotate", code=13)
    assert "cannot decrypt the key file" in done.err
    assert len(asked) == 5


def test_a_private_key_that_is_not_of_its_public_key_does_not_sign(gap: Gap, asked: list[str]) -> None:
    gap.online("key", "generate", "bob")
    keys = gap.online.home / "keys"
    (keys / "alice.pem").write_bytes((keys / "bob.pem").read_bytes())
    gap.layout(**BOTH)
    done = gap.online("pack", "stack.yaml", "--to", "stick", "--key", "alice", code=13)
    assert "the private key does not belong to the public key beside it" in done.err
    assert not Path("stick/stack-0001/bundle.dsse.json").exists()


# -- a site that pack sets up


def type_in(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """What a person types at a terminal, who also sees the messages."""
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)


def test_pack_sets_up_the_first_site(
    fresh: Side, gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gap.layout(**BOTH)
    type_in(monkeypatch, "y\n")
    done = fresh("pack", "stack.yaml", "--to", "stick", "--key", "alice")
    assert asked == ["New passphrase of the signing key: ", "Repeat the passphrase: "]
    assert (
        done.err.index("a trust root, which says")
        < done.err.index("Set it up now?")
        < done.err.index("fingerprint")
    )
    assert "sealed: stick/stack-0001" in done.out
    assert [record["event"] for record in fresh.records() if record["phase"] == "end"] == [
        "trust-change",
        "pack",
    ]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_pack_sets_up_nothing_without_a_yes(
    fresh: Side, gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    gap.layout(**BOTH)
    type_in(monkeypatch, answer)
    assert "there is no site here yet" in fresh("pack", "stack.yaml", "--to", "stick", code=2).err
    assert asked == []
    assert not fresh.home.exists()


def test_pack_does_not_ask_for_what_fails(
    fresh: Side, gap: Gap, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "y\n")
    gap.layout(**BOTH)
    fresh("pack", "stack.yaml", "--to", "/media/airgap-no-such-stick", code=11)
    fresh("pack", gap.manifest("{oci: source, ref: example.com/none:1}"), "--to", "stick", code=18)
    assert not fresh.home.exists()


def test_a_script_never_sets_up_a_site(fresh: Side, gap: Gap) -> None:
    gap.layout(**BOTH)
    assert "there is no site here yet" in fresh("pack", "stack.yaml", "--to", "stick", code=2).err


def test_json_never_sets_up_a_site(fresh: Side, gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "y\n")
    gap.layout(**BOTH)
    fresh("pack", "stack.yaml", "--to", "stick", "--json", code=2)
    assert not fresh.home.exists()
