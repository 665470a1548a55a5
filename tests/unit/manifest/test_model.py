"""The JSON Schema equals the model; the ready-made manifests load; the patterns refuse nothing good."""

import json
import re
import runpy
from pathlib import Path

import pytest

from airgap.errors import FormatError
from airgap.manifest import TransferManifest, json_schema
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

FOLDER = Path(__file__).parents[3] / "manifests"
SCHEMA = json.loads(json_schema())
READY = sorted(FOLDER.glob("*.yaml"))


def test_the_file_is_what_the_model_says():
    assert (FOLDER / "manifest.schema.json").read_text("utf-8") == json_schema(), (
        "python -m airgap.manifest > manifests/manifest.schema.json"
    )


def test_the_command_prints_it(capsys):
    runpy.run_module("airgap.manifest", run_name="__main__")
    assert capsys.readouterr().out == json_schema()


def test_it_says_what_editors_need():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "airgap manifest"
    assert SCHEMA["required"] == ["version", "name"]
    assert SCHEMA["anyOf"] == [{"required": [key]} for key in ("images", "files", "charts")]
    short, *long = SCHEMA["properties"]["images"]["items"]["anyOf"]
    assert short["type"] == "string"
    forms = [SCHEMA["$defs"][form["$ref"].rpartition("/")[2]] for form in long]
    assert [form["required"] for form in forms] == [["ref"], ["archive"], ["oci"], ["ref", "tags"]]
    for mapping in (SCHEMA, *forms):
        assert mapping["additionalProperties"] is False
        assert all(value["description"] for value in mapping["properties"].values())


@pytest.mark.parametrize("path", READY, ids=lambda path: path.name)
def test_a_ready_made_manifest_loads_under_its_own_name(path):
    found = TransferManifest.load(path)
    assert found.name == path.stem
    assert all(entry.reference is None or entry.reference.tag != "latest" for entry in found.images)
    head = path.read_text().splitlines()[:2]
    assert head[0] == "# yaml-language-server: $schema=manifest.schema.json"
    assert head[1].startswith("# ")


def test_there_are_ready_made_manifests():
    assert len(READY) >= 4


def named(key):
    return SCHEMA["$defs"]["NamedEntry"]["properties"][key]


REFERENCES = [
    "nginx", "nginx:1.27", "a/b", "a__b/c--d.e_f:T.g-1_", "localhost/x", "localhost:5000/x:y", "Host.example/a:1",
    "[fd00::1]:5000/a/b:1", "ghcr.io/acme/api:2.3@sha256:" + "a" * 64, "x@sha512:" + "0" * 128, "1.2.3.4:80/a",
]  # fmt: skip


@pytest.mark.parametrize("text", REFERENCES)
def test_the_pattern_takes_every_reference_that_the_reader_takes(text):
    assert ImageReference.parse(text)
    assert re.search(named("ref")["pattern"], text)


@pytest.mark.parametrize(
    "text", ["", "Nginx", "nginx:", "a b", "nginx@sha256:00", "docker://nginx", "a//", "-a", "nginx:1@md5:0"]
)
def test_the_pattern_refuses_the_usual_mistakes(text):
    with pytest.raises(FormatError):
        ImageReference.parse(text)
    assert not re.search(named("ref")["pattern"], text)


def test_the_usual_platforms_are_offered_and_others_allowed():
    everything, alone, several = named("platforms")["anyOf"]
    assert everything == {"const": "all"}
    assert several["items"] == alone
    usual, others = alone["anyOf"]
    assert "linux/amd64" in usual["enum"]
    for text in usual["enum"]:
        assert Platform.parse(text)
    assert re.search(others["pattern"], "windows/amd64")
    assert re.search(others["pattern"], "linux/arm/v6")
    assert not re.search(others["pattern"], "linux")


def test_sources_are_offered():
    offered, engines = named("source")["anyOf"]
    assert offered["enum"] == ["registry", "docker"]
    assert re.search(engines["pattern"], "docker:ssh://alice@build:22")
    assert not re.search(engines["pattern"], "docker:ssh://-oProxyCommand=x")
