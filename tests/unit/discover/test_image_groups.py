"""Names of images whose parts are values of their own."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.image_groups import GroupDefaults, find_groups
from airgap.manifest.yaml_nodes import parse_nodes
from airgap.oci.reference import ImageReference

CHART = GroupDefaults(registry="quay.io", namespace="team", tag="v9")
DIGEST = "1" * 64


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("image: {registry: r.io, repository: a/b, tag: v1}", ["r.io/a/b:v1"]),
        ("image: {registry: r.io, repository: q.io/a/b, tag: v1}", ["q.io/a/b:v1"]),
        (f"image: {{repository: a/b, digest: 'sha256:{DIGEST}'}}", [f"quay.io/a/b:v9@sha256:{DIGEST}"]),
        (f"image: {{repository: a/b, tag: v1, sha: '{DIGEST}'}}", [f"quay.io/a/b:v1@sha256:{DIGEST}"]),
        (f"image: {{repository: a/b, tag: v1, digest: 'sha256:{DIGEST}', useDigest: false}}", ["quay.io/a/b:v1"]),
        ("image: {repository: a/b}", ["quay.io/a/b:v9"]),
        ("image: {name: server, repository: ''}", ["quay.io/team/server:v9"]),
        ("kubectl: {image: {repository: bitnami/kubectl}}", ["quay.io/bitnami/kubectl"]),
        ("sidecar: {image: 'r.io/a/b:1'}", ["r.io/a/b:1"]),
        ("sidecarImage: r.io/a/b\nsidecarImageTag: '2'", ["r.io/a/b:2"]),
        ("driver: 'r.io/a/b:1'", ["r.io/a/b:1"]),
        ("list: [{image: a, tag: '1'}, {image: b, tag: '2'}]", ["quay.io/a:1", "quay.io/b:2"]),
        ("image: '{{ .Values.x }}'\nrepository: https://charts.example.com\npodLabels: {image: 'r.io/a/b:1'}", []),
        ("imagePullSecrets: [a]\nimagePullPolicy: Always\nimage: {pullPolicy: Always, tag: v1}", []),
    ],
)  # fmt: skip
def test_the_parts_of_a_name_are_put_together(text: str, want: list[str]) -> None:
    (document,) = parse_nodes(text).documents
    assert [group.name for group in find_groups(document, CHART)] == want


def test_an_image_that_a_value_turns_off_says_so() -> None:
    (document,) = parse_nodes("metrics: {enabled: false, image: {repository: r.io/a/b, tag: '1'}}").documents
    assert [group.disabled_by for group in find_groups(document)] == ["metrics.enabled"]


def test_a_generic_variant_is_the_one_that_runs() -> None:
    text = f"image: {{repository: r.io/a/b, tag: '1', genericDigest: 'sha256:{DIGEST}', awsDigest: ''}}"
    (document,) = parse_nodes(text).documents
    assert [group.name for group in find_groups(document)] == [f"r.io/a/b-generic:1@sha256:{DIGEST}"]


def test_a_digest_of_its_own_is_the_digest_of_a_variant() -> None:
    text = f"image: {{repository: r.io/a/b, tag: '1', digestChroot: 'sha256:{DIGEST}'}}"
    (document,) = parse_nodes(text).documents
    names = [(group.name, group.disabled_by) for group in find_groups(document)]
    assert names == [("r.io/a/b:1", ""), (f"r.io/a/b-chroot:1@sha256:{DIGEST}", "image.chroot")]


KEYS = st.sampled_from(
    ["image", "repository", "registry", "tag", "digest", "name", "enabled", "digestX", "xImage", "xImageTag"]
)
TEXTS = st.text("ab/:@.{}$1-", max_size=8) | st.sampled_from(["r.io/a/b:1", "false", "sha256:" + DIGEST])


@settings(max_examples=60, deadline=None)
@given(
    values=st.recursive(
        TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
        max_leaves=10,
    )
)
def test_any_values_give_names_that_can_be_parsed(values: object) -> None:
    for document in parse_nodes(json.dumps(values)).documents:
        for group in find_groups(document, CHART):
            assert ImageReference.parse(group.name)
