"""`docker compose config --images` of Debian sid judges what discover finds in Compose files."""

import shutil
from pathlib import Path

import pytest

from airgap.discover.discover import discover
from airgap.discover.findings import full_name
from airgap.errors import FormatError
from tests.samples import FILES
from tests.support.found import write
from tests.support.sid import Sid

COMPOSE = "/usr/libexec/docker/cli-plugins/docker-compose"

OPERATORS = (
    "${A-d}", "x${E-d}", "${E:-d}", "${N-d}", "${A+y}", "x${E+y}", "${E:+y}z", "${N:-${A:-q}}", "${N:-$A}",
    "${N-a${A}b}", "$A", "${N:-a-b}", "x${N}", "${A:?no}",
)  # fmt: skip
ENTRIES = """A=1 # c
B='2'
C="3" # x
export D=4
E=${A}5
F="${A}6"
G: 7
H=8_9
  I = 10
J="a_${NONE:-b}"
"""
PROJECTS: dict[str, dict[str, str]] = {
    "operators": {
        "a.yaml": "services:\n"
        + "".join(f"  s{n}: {{image: 'x{n}:{text}'}}\n" for n, text in enumerate(OPERATORS)),
        ".env": "A=1\nE=\n",
    },
    "env file": {
        "a.yaml": "services:\n" + "".join(f"  s{v}: {{image: 'x:{v}-${{{v}:-none}}'}}\n" for v in "ABCDEFGHIJK"),
        ".env": ENTRIES,
    },
    "reset and override": {
        "a.yaml": "services: {a: {image: a:1, profiles: [x]}, b: {image: b:1}, c: {image: c:1}}",
        "b.yaml": (
            "services: {a: {profiles: !reset []}, b: !reset null, c: !override {image: d:1}, "
            "e: {image: e:1, profiles: [x]}}"
        ),
        "c.yaml": "services: {a: {image: }, e: {profiles: !override ['']}}",
    },
    "extends": {
        "a.yaml": (
            "services: {a: {extends: b}, b: {extends: {service: c, file: sub/x.yaml}, image: b:1}, "
            "d: {extends: {service: c, file: sub/x.yaml}}}"
        ),
        "sub/b.yaml": "services: {z: {extends: {service: c, file: sub/x.yaml}}}",
        "sub/x.yaml": "services: {c: {extends: {file: y.yaml, service: q}}}",
        "sub/y.yaml": "services: {q: {image: '${IMAGE:-q}:2'}}",
    },
    "include": {
        "a.yaml": (
            "include: [{path: one/c.yaml, env_file: v.env}, two/c.yaml, "
            "{path: [two/d.yaml, two/e.yaml], project_directory: .}]\n"
            "services: {m: {image: 'm:${V:-none}'}}"
        ),
        "v.env": "V=9\n",
        ".env": "W=1\n",
        "one/c.yaml": "services: {s: {image: 's:${V:-none}-${W:-none}'}}",
        "two/.env": "V=7\nW=2\n",
        "two/c.yaml": "include: [f.yaml]\nservices: {t: {image: 't:${V:-none}-${W:-no}'}}",
        "two/d.yaml": "services: {u: {image: 'u:${V:-none}'}}",
        "two/e.yaml": "services: {u: {image: 'u:2'}}",
        "two/f.yaml": "services: {w: {image: 'w:${V:-none}'}}",
    },
    "profiles": {
        "a.yaml": (
            "services: {a: {image: a:1, profiles: ['', p]}, b: {image: b:1, profiles: [p]}, "
            "c: {image: c:1, profiles: [q]}, d: {image: d:1, profiles: []}}"
        ),
        ".env": "COMPOSE_PROFILES=q, z\n",
    },
    "merge keys": {
        "a.yaml": (
            "x-i: &i {image: 'i:1', profiles: [x]}\nx-j: &j {<<: *i, image: 'j:1', profiles: []}\n"
            "services:\n  a: {<<: *j}\n  b: {<<: [*i, *j], profiles: []}\n  c: {<<: [*j, *i]}\n"
            "---\nservices:\n  a: {image: 'k:2'}\n"
        ),
    },
}  # fmt: skip
"""Small projects; files beside each other, and `sub/b.yaml`, are given with -f in their order."""


def judged(sid: Sid, paths: list[Path]) -> set[str]:
    """The full names of the images that Compose prints."""
    options = [word for path in paths for word in ("-f", str(path))]
    printed = sid(COMPOSE, *options, "config", "--images").stdout.decode().split()
    return {name for text in printed if (name := _full_name(text))}


def _full_name(text: str) -> str | None:
    try:
        return str(full_name(text))
    except FormatError:
        return None  # what Compose prints for a variable without a value: `frappe/erpnext:`


def found(paths: list[Path], root: Path) -> set[str]:
    """The full names of the images that are found, and that run by default."""
    return {str(image.reference) for image in discover(paths, root=root).images if not image.optional}


@pytest.mark.parametrize("name", PROJECTS)
def test_compose_and_discover_read_the_same_images(sid: Sid, tmp_path: Path, name: str) -> None:
    write(tmp_path, PROJECTS[name])
    paths = [*sorted(tmp_path.glob("*.yaml")), *tmp_path.glob("sub/b.yaml")]
    assert found(paths, tmp_path) == judged(sid, paths) != set()


@pytest.mark.parametrize(
    ("sample", "names"),
    [
        ("compose-netbox", ["docker-compose.yml"]),
        ("compose-frappe", ["compose.yaml"]),
        ("compose-jitsi", ["docker-compose.yml"]),
        ("compose-nvidia-rag", ["nims.yaml"]),
        ("compose-penpot", ["docker-compose.yaml"]),
        ("compose-superset", ["docker-compose-image-tag.yml"]),
        ("compose-otel-demo", ["compose.yaml", "compose.full.yaml", "compose.observability.yaml"]),
        ("compose-include-extends", ["extends/compose.yaml"]),
        ("compose-include-extends", ["include/compose.yaml"]),
    ],
)
def test_compose_and_discover_agree_on_real_files(
    sid: Sid, tmp_path: Path, sample: str, names: list[str]
) -> None:
    folder = tmp_path / sample
    shutil.copytree(FILES / sample, folder)
    paths = [folder / name for name in names]
    assert found(paths, folder) == judged(sid, paths)
