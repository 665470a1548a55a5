"""`airgap discover --rewrite`: the copies, what is refused, and that nothing is written then."""

import io
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Side
from tests.support.found import write

COMPOSE = """# the shop
services:
  web:
    image: nginx:1.27  # from Docker Hub
  app:
    image: ghcr.io/acme/app:${VERSION:-2.1}
"""
DIGEST = "sha256:" + "ab" * 32


def locked(ref: str, name: str, digest: str = f"digest: {DIGEST}, size: 5") -> str:
    media_type = ", media_type: application/vnd.oci.image.manifest.v1+json" if "size" in digest else ""
    return f"- {{ref: '{ref}', as: '{name}', source: registry, platforms: [], {digest}{media_type}}}\n"


def lock(*images: str) -> str:
    return f"version: 1\nname: shop\nmanifest_sha256: {'0' * 64}\nimages:\n{''.join(images)}"


BOTH = (
    locked("nginx:1.27", "plant.example/nginx:1.27"),
    locked("ghcr.io/acme/app:2.1", "ghcr.io/acme/app:2.1"),
)
WORDS = ("compose.yaml", "--rewrite", "off", "--lock", "stack.lock.yaml")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Compose file and the lock of its images, which is the current one."""
    folder = tmp_path / "shop"
    write(folder, {"compose.yaml": COMPOSE, "stack.lock.yaml": lock(*BOTH), "k/a.yaml": "kind: x\n"})
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("options", "web", "app"),
    [
        ([], f"plant.example/nginx:1.27@{DIGEST}", f"ghcr.io/acme/app:2.1@{DIGEST}"),
        (["--names", "digest"], f"plant.example/nginx@{DIGEST}", f"ghcr.io/acme/app@{DIGEST}"),
        (
            ["--names", "tag", "--map", "ghcr.io=h.example/m", "--map", "ghcr.io/acme=h.example"],
            "plant.example/nginx:1.27",
            "h.example/app:2.1",
        ),
    ],
    ids=["both", "digest", "map"],
)
def test_copies_have_the_offline_names(
    fresh: Side, project: Path, options: list[str], web: str, app: str
) -> None:
    done = fresh("discover", *WORDS, *options)
    assert done.out == (
        "FILE          COPY              IMAGES\ncompose.yaml  off/compose.yaml  2\nrewritten: off (1 file)\n"
    )
    want = COMPOSE.replace("nginx:1.27", web).replace("ghcr.io/acme/app:${VERSION:-2.1}", app)
    assert (project / "off/compose.yaml").read_text() == want
    assert fresh("discover", *WORDS, *options).out == done.out


def test_json_names_the_copies(fresh: Side, project: Path) -> None:
    value = fresh("discover", *WORDS, "--json").json
    assert value["rewritten"] == [{"file": "compose.yaml", "copy": "off/compose.yaml", "images": 2}]


def test_standard_input_is_rewritten(fresh: Side, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: nginx:1.27}]}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pod.encode())))
    fresh("discover", "-", *WORDS[1:], "--names", "tag")
    copy = (project / "off/standard-input.yaml").read_text()
    assert copy == pod.replace("nginx:1.27", "plant.example/nginx:1.27")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["compose.yaml", "--rewrite", "off"], 2, "--lock is missing"),
        (["compose.yaml", "--lock", "stack.lock.yaml"], 2, "--rewrite is missing"),
        (["compose.yaml", "--names", "tag"], 2, "--rewrite is missing"),
        ([*WORDS, "-o", "stack.yaml"], 2, "--rewrite writes no manifest"),
        ([*WORDS, "--names", "id"], 2, "--names is not a form of names"),
        ([*WORDS, "--map", "x"], 2, "not a valid --map"),
        ([*WORDS, "--lock", "none.yaml"], 10, "no such file: none.yaml"),
        ([".", *WORDS[1:]], 2, "the copies would be in a folder that is read"),
        ([*WORDS, "--rewrite", "."], 2, "a copy would replace its original"),
        ([*WORDS, "--rewrite", ".", "--force"], 2, "a copy would replace its original"),
        (["k/a.yaml", *WORDS[1:]], 3, "of no kind that discover reads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_options_write_nothing(
    fresh: Side, project: Path, words: list[str], code: int, text: str
) -> None:
    done = fresh("discover", *words, code=code)
    assert text in done.err
    assert not (project / "off").exists()
    assert (project / "compose.yaml").read_text() == COMPOSE


@pytest.mark.parametrize(
    ("images", "code", "text"),
    [
        (BOTH[:1], 22, "the lock lacks images that the files run: stack.lock.yaml, got ghcr.io/acme/app:2.1"),
        ((*BOTH, locked("nginx:1.27", "b.example/nginx:1")), 3, "has several names offline"),
        ((BOTH[0], locked("ghcr.io/acme/app:2.1", "a.example/a:1", f"image_id: {DIGEST}")), 3, "has no digest"),
    ],
    ids=["missing", "two-names", "no-digest"],
)  # fmt: skip
def test_locks_that_do_not_name_an_image(
    fresh: Side, project: Path, images: tuple[str, ...], code: int, text: str
) -> None:
    write(project, {"stack.lock.yaml": lock(*images)})
    assert text in fresh("discover", *WORDS, code=code).err
    assert (project / "off").exists() is (code == 3)


def test_another_digest_in_the_file_is_a_problem(fresh: Side, project: Path) -> None:
    write(project, {"compose.yaml": COMPOSE.replace("1.27", f"1.27@{'sha256:' + 'cd' * 32}")})
    assert "compose.yaml:4" in (done := fresh("discover", *WORDS, code=3)).err
    assert "the lock has another digest than" in done.err


def test_a_different_file_is_replaced_only_with_force(fresh: Side, project: Path) -> None:
    write(project, {"off/compose.yaml": "mine\n"})
    assert "a different file exists" in fresh("discover", *WORDS, code=2).err
    assert (project / "off/compose.yaml").read_text() == "mine\n"
    fresh("discover", *WORDS, "--force")
    assert "plant.example" in (project / "off/compose.yaml").read_text()


def test_a_link_in_the_folder_is_not_followed(fresh: Side, project: Path) -> None:
    (project / "off").mkdir()
    (project / "off/compose.yaml").symlink_to(project / "elsewhere")
    fresh("discover", *WORDS, "--force", code=12)
    assert not (project / "elsewhere").exists()
