"""Manifests that are locked and planned."""

import shutil

import pytest
import yaml

from airgap.online.platforms import default_platform
from tests.cli.conftest import Gap, Side, files_of
from tests.cli.sources import API, BOTH, WEB, tight
from tests.support import saves
from tests.support.images import Layer, make_image, make_index, noise, simple_image

# -- lock


def test_lock_writes_beside_the_manifest(gap: Gap) -> None:
    path = gap.layout(**BOTH)
    done = gap.online("lock", path, "--json")
    lock = gap.folder / "stack.lock.yaml"
    assert done.json == {
        "lock": str(lock),
        "images": [
            {
                "reference": f"example.com/{name}:1",
                "digest": str(image.descriptor.digest),
                "digest_kind": "manifest",
                "platforms": [str(default_platform())],
                "left_out": [],
                "platforms_by_default": True,
                "notes": [],
                "carried_files": [],
            }
            for name, image in BOTH.items()
        ],
        "relocked": [],
        "tags": [],
        "left_out": [],
        "attachments_unknown": [],
    }
    assert [image["archive"] for image in yaml.safe_load(lock.read_text())["images"]] == ["source", "source"]
    assert done.err == ""


def test_lock_marks_an_image_id(gap: Gap) -> None:
    files, links = saves.saved_by_20()
    (gap.folder / "save.tar").write_bytes(saves.tar(files, links))
    path = gap.manifest("{archive: save.tar, ref: t/a:1}")
    [image] = gap.online("lock", path, "--json").json["images"]
    assert (image["digest"], image["digest_kind"]) == (str(saves.IDS["a"]), "image_id")
    _, row, note, *_ = gap.online("lock", path).out.splitlines()
    assert row.split()[1:] == ["image", "id", str(saves.IDS["a"])]
    assert note.startswith("image id: the source's own")
    assert "image id" not in gap.online("lock", gap.layout(api=API)).out


def test_lock_needs_no_site(fresh: Side, gap: Gap) -> None:
    fresh("lock", gap.layout(api=API))
    assert not fresh.home.exists()


def test_a_lock_can_move_with_its_folder(gap: Gap) -> None:
    gap.online("lock", gap.layout(**BOTH))
    moved = gap.folder / "elsewhere"
    moved.mkdir()
    for name in ("source", "stack.yaml", "stack.lock.yaml"):
        shutil.move(gap.folder / name, moved / name)
    done = gap.online("pack", moved / "stack.yaml", "--to", gap.stick)
    assert "no stack.lock.yaml" not in done.err


def test_the_lock_holds_when_the_tag_moves(gap: Gap) -> None:
    path = gap.layout(api=API)
    gap.online("lock", path)
    gap.layout(api=WEB)  # the same name, another image; the old one is still there by digest
    packed = gap.online("pack", path, "--to", gap.stick, "--json").json
    [image] = packed["images"]
    assert (image["reference"], image["digest"]) == ("example.com/api:1", str(API.descriptor.digest))


def test_a_stale_lock_is_refused(gap: Gap) -> None:
    path = gap.layout(**BOTH)
    gap.online("lock", path)
    path.write_text(path.read_text() + "platforms: all\n")
    for command in (("pack", path, "--to", gap.stick), ("plan", path)):
        done = gap.online(*command, code=10)
        assert f"the lock belongs to another manifest: {gap.folder}/stack.lock.yaml" in done.err
        assert f"run `airgap lock {path}`" in done.err


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ("{oci: source, ref: example.com/none:1}", 18, "no such image in oci:"),
        ("{oci: nowhere, ref: example.com/api:1}", 18, "nowhere"),
        ("{archive: source}", 10, "source, got an OCI image layout"),
        ("{oci: source, ref: 'example.com/api:1', digest: 'sha256:%s'}" % ("0" * 64), 18, "no such image"),
        ("{oci: source, as: example.com/one:1}", 10, "`as` and `digest` need a single image"),
        ("{oci: source, reff: x}", 10, "ref"),
        ("example.com/UPPER:1", 10, ":4:"),
    ],
)
def test_lock_refuses(gap: Gap, entry: str, code: int, message: str) -> None:
    gap.layout(**BOTH)
    assert message in gap.online("lock", gap.manifest(entry), code=code).err
    assert not (gap.folder / "stack.lock.yaml").exists()


def test_lock_takes_all_images_of_a_layout(gap: Gap) -> None:
    gap.layout(**BOTH)
    done = gap.online("lock", gap.manifest("{oci: source}"), "--json")
    assert [image["reference"] for image in done.json["images"]] == ["example.com/api:1", "example.com/web:1"]


# -- plan


def test_plan_tells_and_writes_nothing(gap: Gap) -> None:
    shared = Layer.of({"base": noise(50_000, 7)})
    one, two = (make_image([shared, Layer.of({n: n.encode()})], label=n) for n in "ab")
    path = gap.layout(one=one, two=two)
    before = files_of(gap.folder)
    plan = gap.online("plan", path, "--to", gap.folder, "--json").json
    contents = one.contents | two.contents
    assert plan["blobs"] == len(contents)
    assert plan["bytes"] == sum(map(len, contents.values()))
    assert plan["free"] > 0
    assert [image["blobs"] for image in plan["images"]] == [4, 4]
    lines = gap.online("plan", path, "--to", gap.folder).out.splitlines()
    assert lines[3].endswith(f"shared between images: {len(shared.blob) / 1000:.1f} kB")
    assert lines[4].endswith("it fits")
    assert files_of(gap.folder) == before


def test_plan_says_when_it_does_not_fit(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gap.layout(**BOTH)
    tight(monkeypatch, 10)
    for more in ((), ("--to", gap.folder / "other")):
        done = gap.online("plan", path, "--to", gap.folder, *more, code=11)
        assert done.out.startswith("IMAGE")
        assert ("IT DOES NOT FIT" in done.out) == (not more)
        assert "error: the bundle does not fit" in done.err
        found = gap.online("plan", path, "--to", gap.folder, *more, "--json", code=11).json
        assert (found["volumes"], found["error"]["kind"]) == (None, "NoSpaceError")


def test_plan_refuses_what_pack_refuses(gap: Gap) -> None:
    path = gap.layout(**BOTH)
    done = gap.online("plan", path, "--to", "/media/airgap-no-such-stick", code=11)
    assert "error: no medium is mounted there: /media/airgap-no-such-stick" in done.err
    assert done.out.startswith("IMAGE")
    assert "it fits" not in done.out
    gap.online("plan", path, "--to", "/media/airgap-no-such-stick", "--allow-system-disk")


def test_plan_knows_platforms(gap: Gap) -> None:
    index = make_index([simple_image("amd"), simple_image("arm", platform="linux/arm64")])
    gap.layout(multi=index)
    entry = "{oci: source, ref: 'example.com/multi:1', platforms: [%s]}"
    plan = gap.online("plan", gap.manifest(entry % "linux/arm64"), "--json").json
    assert plan["images"][0]["platforms"] == ["linux/arm64"]
    done = gap.online("plan", gap.manifest(entry % "linux/s390x"), code=18)
    assert "no image for the platform: example.com/multi:1, want linux/s390x, got linux/amd64" in done.err


def test_plan_names_no_option_that_it_lacks(gap: Gap) -> None:
    gap.layout(**BOTH)
    entries = [f"{{oci: source, ref: 'example.com/{name}:1', platforms: [linux/s390x]}}" for name in BOTH]
    done = gap.online("plan", gap.manifest(*entries), code=3)
    assert done.err.endswith(
        "hint: the reasons are above; `airgap pack --allow-partial` can seal the others\n"
    )
