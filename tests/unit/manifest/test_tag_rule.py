"""Which tags a rule selects, which tags are versions, and what no rule may be."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.manifest.tag_rule import TagRule, parse_latest, parse_pattern, parse_range, parse_suffix
from tests.unit.manifest.test_transfer import manifest, ref

NGINX = [
    "latest", "stable", "mainline", "alpine", "1", "1.26", "1.26.2", "1.26.3", "1.27", "1.27.3", "1.27.4",
    "1.27.3-alpine", "1.27.4-alpine", "1.27.4-alpine3.20", "1.28.0-rc.1", "2.0.0", "1.9.15", "1.27.10",
    "sha256-" + "0" * 64, "sha256-" + "0" * 64 + ".sig",
]  # fmt: skip
POSTGRES = ["16", "16.3", "16.4", "16.10", "17.2", "16.4-bookworm", "latest"]
K3S = ["v1.30.9-k3s1", "v1.31.2-k3s1", "v1.31.10-k3s1", "v1.31.10-rc1-k3s1", "v1.31.10-k3s2", "latest"]


@pytest.mark.parametrize(
    ("tags", "rule", "found"),
    [
        (NGINX, {"semver": ">=1.26 <2", "latest": 3}, ["1.27.10", "1.27.4", "1.27.3"]),
        (NGINX, {"semver": "~1.26", "latest": 9}, ["1.26.3", "1.26.2"]),
        (NGINX, {"semver": "1.26.x || 2.x", "latest": 2}, ["2.0.0", "1.26.3"]),
        (NGINX, {"semver": ">=1.28.0-0 <1.29", "latest": 1}, ["1.28.0-rc.1"]),
        (NGINX, {"semver": "^1.26", "suffix": "-alpine", "latest": 5}, ["1.27.4-alpine", "1.27.3-alpine"]),
        (NGINX, {"match": r"^1\.2[0-9]$", "latest": 3}, ["1.27", "1.26"]),
        (NGINX, {"match": r"1\..*[0-9]", "latest": 2}, ["1.28.0-rc.1", "1.27.10"]),
        (NGINX, {"semver": "1.x", "match": r".*\.[0-9]", "latest": 1}, ["1.27.4"]),
        (NGINX, {"match": "26|latest|sha256.*", "latest": 9}, ["latest"]),
        (NGINX, {"semver": ">=3", "latest": 1}, []),
        (POSTGRES, {"semver": "16.x", "latest": 2}, ["16.10", "16.4"]),
        (
            ["24.04", "22.04", "24.10", "noble", "2024.10"],
            {"semver": "<100", "latest": 2},
            ["24.10", "24.04"],
        ),
        (K3S, {"semver": "1.31", "suffix": "-k3s1", "latest": 2}, ["v1.31.10-k3s1", "v1.31.2-k3s1"]),
        (["v1.2.3", "1.2.3", "v1.2.4"], {"semver": "1.x", "latest": 3}, ["v1.2.4", "1.2.3"]),
        (["1.2.3-01", "1.2.3.4", "1.2.3_1", "01.2.3"], {"semver": "*", "latest": 9}, ["01.2.3"]),
        (["a/../b", "", "x" * 129, "1.0\n", "٣.٤", "1.0"], {"semver": "*", "latest": 9}, ["1.0"]),
        (["r9", "r10", "r10b"], {"match": "r.*", "latest": 3}, ["r10b", "r10", "r9"]),
    ],
)
def test_the_newest_tags_are_selected(tags, rule, found):
    assert TagRule(**rule).select(tags) == found
    assert TagRule(**rule).select(random.Random(1).sample(tags * 2, len(tags) * 2)) == found


def test_no_tag_makes_a_pattern_hang():
    assert TagRule(match="(a+)+(a|a)*b", latest=1).select(["a" * 128, "ab"]) == ["ab"]


@pytest.mark.parametrize(
    ("parse", "text", "what"),
    [
        (parse_range, ">=1.26, <2", "not a range of versions"),
        (parse_range, "latest", "not a range of versions"),
        (parse_pattern, "(", "not a regular expression"),
        (parse_pattern, "a)|(b", "not a regular expression"),
        (parse_pattern, r"(a)\1", "not a regular expression"),
        (parse_pattern, "(?=a)a", "not a regular expression"),
        (parse_pattern, r"((\d{1000}){1000}){1000}", "not a regular expression"),
        (parse_pattern, "a" * 501, "the pattern is too long"),
        (parse_suffix, "/alpine", "not the end of a tag"),
        (parse_suffix, "-" + "a" * 123, "not the end of a tag"),
        (parse_latest, "0", "not a number of tags"),
        (parse_latest, "1001", "not a number of tags"),
        (parse_latest, "-1", "not a number of tags"),
        (parse_latest, "all", "not a number of tags"),
    ],
)
def test_what_is_not_a_rule(parse, text, what):
    with pytest.raises(FormatError, match=f"^{what}"):
        parse(text)


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12) | st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){1,2}", fullmatch=True)))
def test_any_list_of_tags_is_selected_from(tags):
    for rule in (TagRule(semver="*", latest=3), TagRule(match=".*", latest=3)):
        found = rule.select(tags)
        assert set(found) <= set(tags)
        assert rule.select(found) == found
        assert len(found) <= 3


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_any_text_is_a_rule_or_refused(text):
    for parse in (parse_range, parse_pattern, parse_suffix, parse_latest):
        try:
            parse(text)
        except FormatError:
            continue


HEAD = "version: 1\nname: a\nimages:\n"


def test_an_item_with_a_rule():
    text = f'{HEAD}  - {{ref: nginx, as: plant.example/web, tags: {{semver: "^1.26", latest: 2}}}}\n'
    [entry] = manifest(text).images
    assert entry.tags == TagRule(semver="^1.26", latest=2)
    assert (str(entry.reference), str(entry.rename), entry.name) == (
        "docker.io/library/nginx", "plant.example/web", None,
    )  # fmt: skip
    assert manifest(text).images_sha256 != manifest(text.replace("latest: 2", "latest: 3")).images_sha256
    resolved = manifest(text).with_tags([manifest(f"{HEAD}  - nginx:1\n").images[0]])
    assert resolved.images_sha256 == manifest(text).images_sha256
    assert resolved.images[0].reference == ref("nginx:1")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("tags: {semver: 1.x, latest: 1}", "missing key"),
        ("ref: nginx, tags: {semver: 1.x}", r":4:\d+.*'latest'"),
        ("ref: nginx, tags: {latest: 1}", "the rule selects every tag"),
        ("ref: nginx, tags: {latest: 1, suffix: -a}", "a suffix needs a range of versions"),
        ("ref: nginx, tags: {match: x, latest: 1, suffix: -a}", "a suffix needs a range of versions"),
        ("ref: nginx:1.27, tags: {semver: 1.x, latest: 1}", "a name beside 'tags' must not have a tag"),
        ("ref: nginx:latest, tags: {semver: 1.x, latest: 1}", "a name beside 'tags' must not have a tag"),
        (f"ref: nginx@sha256:{'0' * 64}, tags: {{semver: 1.x, latest: 1}}", "must not have a digest"),
        ("ref: nginx, as: web:1, tags: {semver: 1.x, latest: 1}", "a name beside 'tags' must not have a tag"),
        ("ref: nginx, tags: {semver: 1.x, latest: 1, newest: 2}", "one of latest, semver, suffix, match"),
        ("ref: nginx, tags: [1.26]", "wrong type"),
        ("ref: nginx, tags: 1.26", "wrong type"),
        ("ref: nginx, source: docker, tags: {semver: 1.x, latest: 1}", "belongs to another kind of entry"),
        ("archive: a.tar, tags: {semver: 1.x, latest: 1}", "belongs to another kind of entry"),
        ("ref: nginx, semver: 1.x", r"as in tags: \{semver:"),
    ],
)
def test_what_is_not_an_item_with_a_rule(item, message):
    with pytest.raises(FormatError) as caught:
        manifest(f"{HEAD}  - {{{item}}}\n")
    assert re.search(message, f"{caught.value} {caught.value.hint}")
