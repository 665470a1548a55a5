"""Bundles and deltas that are loaded."""

import json
import shutil
from pathlib import Path

import pytest

from airgap.cli import console
from airgap.endpoints.server import ImageServer
from airgap.offline import load_bundle as load_module
from airgap.trust.envelope import Envelope
from tests.cli.conftest import Gap, files_of
from tests.cli.sources import API, NAMES, WEB
from tests.support.daemon import Daemon
from tests.support.damage import flip
from tests.support.images import simple_image, write_layout

# -- a delta


def delta(gap: Gap) -> tuple[Path, str]:
    """The folder of a bundle that builds on stack-0001, and the line about that."""
    gap.pack()
    path = gap.layout(api=API, web=WEB, new=simple_image("new"))
    done = gap.online("pack", path, "--to", gap.stick, "--since", "1", "--json")
    requires = done.json["requires"]
    assert requires == {
        "count": 2,
        "bytes": sum(len(image.contents[image.layers[0]]) for image in (API, WEB)),
    }
    needs = f"needs 2 blobs ({console.size(requires['bytes'])}) that earlier bundles brought"
    assert needs in gap.online("pack", path, "--to", gap.stick, "--since", "1").out.splitlines()
    return gap.stick / "stack-0002", needs


def test_a_delta_says_so(gap: Gap) -> None:
    bundle, needs = delta(gap)
    assert needs in gap.offline("inspect", bundle).out.splitlines()
    assert gap.offline("verify", bundle).out.endswith(f"; {needs}\n")
    for shown in (
        gap.offline("inspect", bundle, "--json").json,
        gap.offline("verify", bundle, "--json").json["bundles"][0],
    ):
        assert shown["requires"]["count"] == 2
    whole = gap.stick / "stack-0001"
    assert gap.offline("inspect", whole, "--json").json["requires"] == {"count": 0, "bytes": 0}
    assert "needs" not in gap.offline("inspect", whole).out + gap.offline("verify", whole).out


def test_serve_wants_the_base_of_a_delta(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, _ = delta(gap)
    monkeypatch.setattr(ImageServer, "serve_forever", ImageServer.close)
    done = gap.offline("serve", bundle, "--port", "0", code=19)
    assert "the bundle leaves out blobs that no served bundle has: stack-0002, want sha256:" in done.err
    assert "hint: also name stack-0001; without it, ask the sender for a full bundle" in done.err
    gap.offline("serve", bundle, gap.stick / "stack-0001", "--port", "0")


# -- load


def test_load_into_a_folder(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    value = gap.offline("load", bundle, "--to", f"oci:{out}", "--json").json
    assert [(i["reference"], i["verdict"], i["before"]) for i in value["images"]] == [
        (name, "loaded", None) for name in NAMES
    ]
    assert [i["after"] for i in value["images"]] == [str(i.descriptor.digest) for i in (API, WEB)]
    assert value["error"] is None
    here = files_of(out)
    assert all(here[digest.path] == raw for digest, raw in (API.contents | WEB.contents).items())
    receipt = Envelope.parse(Path(value["receipt"]).read_bytes(), "receipt")
    assert [s["name"] for s in json.loads(receipt.payload)["subject"]][1:] == NAMES
    assert (gap.offline.home / "received" / "stack.json").exists()
    assert gap.offline.ended() == ("load", "ok", 0)


def test_loading_again_changes_nothing(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    gap.offline("load", bundle, "--to", f"oci:{out}")
    before = files_of(out)
    again = gap.offline("load", bundle, "--to", f"oci:{out}")
    assert "nothing to do: the target had everything already" in again.out
    assert again.out.count("already there") == 2
    assert files_of(out) == before


def test_load_into_an_archive(gap: Gap) -> None:
    bundle = gap.pack()
    path = gap.folder / "out.tar"
    gap.offline("load", bundle, "--to", f"archive:{path}")
    assert set(gap.online("lock", gap.manifest("{archive: out.tar}"), "--json").json["images"][0]) >= {
        "reference",
        "digest",
        "digest_kind",
    }
    flip(bundle / API.layers[0].path)
    before = path.read_bytes()
    done = gap.offline("load", bundle, "--to", f"archive:{path}", code=12)
    assert "wrong digest" in done.err
    assert path.read_bytes() == before
    assert [p.name for p in gap.folder.iterdir() if p.name.startswith("out")] == ["out.tar"]


def test_a_name_that_means_something_else(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    write_layout(out, {NAMES[0]: WEB})
    before = files_of(out)
    done = gap.offline("load", bundle, "--to", f"oci:{out}", "--on-conflict", "refuse", code=16)
    assert f"the name refers to another image at the target: {NAMES[0]}" in done.err
    assert files_of(out) == before
    assert not (gap.offline.home / "received").exists()
    value = gap.offline("load", bundle, "--to", f"oci:{out}", "--json").json
    assert value["images"][0]["before"] == str(WEB.descriptor.digest)
    assert value["images"][0]["after"] == str(API.descriptor.digest)


def test_a_partial_load_is_one_json_value(gap: Gap) -> None:
    bundle = gap.pack()
    flip(bundle / API.layers[0].path)
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", "--json", code=3)
    assert [image["verdict"] for image in done.json["images"]] == ["failed", "loaded"]
    assert "wrong digest" in done.json["images"][0]["error"]
    assert done.json["error"]["kind"] == "PartialError"
    assert done.json["error"]["exit_code"] == 3
    assert "error: some images were not loaded, got 1 of 2" in done.err
    assert gap.offline.ended() == ("load", "partial", 3)


def test_a_load_of_which_nothing_succeeds_says_why(gap: Gap) -> None:
    bundle = gap.pack()
    for image in (API, WEB):
        flip(bundle / image.layers[0].path)
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", code=12)
    assert "wrong digest" in done.err


@pytest.mark.parametrize("containerd", [False, True], ids=["classic", "containerd"])
def test_load_into_an_engine_that_has_it(gap: Gap, containerd: bool) -> None:
    bundle = gap.pack()
    with Daemon(gap.folder, containerd=containerd) as daemon:
        for name, image in zip(NAMES, (API, WEB), strict=True):
            image_id = str(image.descriptor.digest if containerd else image.config)
            parts = [{"Kind": "image", "Available": True}]
            daemon.images |= {key: {"Id": image_id, "Manifests": parts} for key in (name, image_id)}
        done = gap.offline("load", bundle, "--to", daemon.endpoint)
        found = gap.offline("load", bundle, "--to", daemon.endpoint, "--json").json["images"]
        assert "nothing to do" in done.out
        assert (f"image id {API.config}" in done.out) is (not containerd)
        assert ("image id: the engine's own" in done.out) is (not containerd)
        kind = "manifest" if containerd else "image_id"
        assert [image["digest_kind"] for image in found] == [kind, kind]
        assert "POST /images/load" not in daemon.calls


def test_an_engine_that_complains(gap: Gap) -> None:
    bundle = gap.pack()
    with Daemon(gap.folder) as daemon:
        daemon.load_answer = b'{"errorDetail":{"message":"no space left"},"error":"no space left"}\r\n'
        done = gap.offline("load", bundle, "--to", daemon.endpoint, code=18)
    assert "no space left" in done.err
    assert gap.offline.ended()[1:] == ("failed", 18)


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("nowhere", 2, "not a target: nowhere, want docker"),
        ("oci:", 2, "not a target"),
        ("archive:", 2, "not a target"),
        ("registry:", 2, "not a target"),
        ("ftp:host", 2, "not a target"),
        ("docker:unix:///nowhere.sock", 18, "nowhere.sock"),
        ("archive:stack.yaml/out.tar", 11, "stack.yaml"),
        ("oci:stack.yaml", 18, "stack.yaml"),
        ("registry:127.0.0.1:1", 18, "127.0.0.1:1"),
    ],
)
def test_targets_that_cannot_be(
    gap: Gap, target: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.session.backoff", lambda *_: 0)
    monkeypatch.chdir(gap.folder)
    assert message in gap.offline("load", gap.pack(), "--to", target, code=code).err


def test_on_conflict_takes_two_words(gap: Gap) -> None:
    done = gap.offline("load", "x", "--to", "oci:y", "--on-conflict", "ask", code=2)
    assert "error: unknown --on-conflict, want replace or refuse, got ask" in done.err


def test_what_was_loaded_before_another_bundle_is_refused_is_told(gap: Gap) -> None:
    """The receipt of the first is needed, whatever becomes of the second."""
    bundle = gap.pack()
    good = shutil.copytree(bundle, gap.folder / "good")
    flip(bundle / "index.json")
    done = gap.offline("load", good, bundle, "--to", f"oci:{gap.folder}/out", "--json", code=12)
    value = json.loads(done.out)
    [loaded] = value["bundles"]
    assert (loaded["bundle"], Path(loaded["receipt"]).exists()) == (str(good), True)
    assert value["error"]["exit_code"] == 12
    assert "error: " in done.err


def test_nothing_is_loaded_where_a_path_is_mistyped(gap: Gap) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    done = gap.offline("load", bundle, gap.folder / "none", "--to", f"oci:{out}", "--json", code=2)
    assert done.json["error"]["exit_code"] == 2
    assert not out.exists()


def test_what_was_loaded_before_ctrl_c_is_told(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gap.pack()
    out = gap.folder / "out"
    asked = []

    def load_bundle(place: Path, *words: object, **options: object) -> object:
        asked.append(place)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return session_load(place, *words, **options)  # type: ignore[arg-type]

    session_load = load_module.load_bundle
    monkeypatch.setattr(load_module, "load_bundle", load_bundle)
    again = shutil.copytree(bundle, gap.folder / "again")
    done = gap.offline("load", bundle, again, "--to", f"oci:{out}", "--json", code=130)
    [loaded] = done.json["bundles"]
    assert loaded["bundle"] == str(bundle)
    assert (done.json["error"]["message"], done.json["error"]["exit_code"]) == (f"interrupted: {again}", 130)
    assert done.err.endswith(
        f"error: interrupted: {again}\ninterrupted; run the same command again to resume\n"
    )
    del asked[1:]
    assert gap.offline("load", again, "--to", f"oci:{out}", "--json", code=130).out == ""
