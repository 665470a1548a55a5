"""Patterns of names, the rules made of them, and their JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError
from airgap.oci.name_rules import NameRule, NameRules, check_pattern
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("*", "nginx", True),
        ("registry.vendor/*", "registry.vendor/a/b:1", True),
        ("registry.vendor/*", "REGISTRY.vendor:443/a:1", True),
        ("registry.vendor/*", "registry.vendor.example.com/a:1", False),
        ("registry.vendor/*", "registry.vendor:5000/a:1", False),
        ("registry.vendor/*", f"registry.vendor/a@{DIGEST}", True),
        ("registry.vendor/*:1", "registry.vendor/a/b:1", True),
        ("registry.vendor/*:1", "registry.vendor/a:11", False),
        ("registry.vendor/a:1", f"registry.vendor/a:1@{DIGEST}", True),
        ("registry.vendor/a:1", f"registry.vendor/a@{DIGEST}", False),
        ("registry.vendor/a", "registry.vendor/a:latest", False),
        ("registry.vendor/a.b:*", "registry.vendor/axb:1", False),
        ("docker.io/library/nginx:*", "nginx:1.27", True),
        ("[::1]:5000/*", "[::1]:5000/a:1", True),
        ("[::1]:5000/*", ":.example:5000/a:1", False),
        ("registry.*/app:1", "registry.x/evil/app:1", True),
    ],
)  # fmt: skip
def test_a_pattern_matches_the_normal_form_of_the_whole_name(pattern: str, name: str, allowed: bool):
    try:
        reference = ImageReference.parse(name)
    except FormatError:
        assert not allowed
        return
    rules = NameRules((NameRule((check_pattern(pattern),)),))
    assert (rules.refused([reference], "docker") == []) is allowed


@pytest.mark.parametrize(
    "text",
    ["", "nginx", "Registry.vendor/*", "registry.vendor/a b", "registry.vendor/ä", "x/?", "x/[a]", "x/a\n*",
     "x/" + "a" * 400],
    ids=["empty", "no host", "upper case", "space", "not ASCII", "?", "class", "line feed", "long"],
)  # fmt: skip
def test_what_no_name_can_match_is_not_a_pattern(text: str):
    with pytest.raises(FormatError):
        check_pattern(text)


def test_rules_of_one_target_add_to_those_of_all():
    rules = NameRules((NameRule(("a.example/*",)), NameRule(("*",), "docker")))
    name = ImageReference.parse("b.example/x:1")
    assert rules.refused([name], "docker") == []
    assert rules.refused([name], "serve") == [name]
    assert NameRules().refused([name], "docker") == [name]
    assert not rules.name_explicitly(name, "docker")
    assert rules.name_explicitly(ImageReference.parse("a.example/x:1"), "docker")


def test_a_rule_replaces_the_one_for_its_target():
    both = NameRules((NameRule(("a.example/*",)), NameRule(("*",), "docker")))
    assert both.replaced(NameRule(("b.example/*",), "docker")).rules[1].patterns == ("b.example/*",)
    assert both.replaced(NameRule((), "docker")).rules == (NameRule(("a.example/*",)),)
    assert both.replaced(NameRule(())).rules == (NameRule(("*",), "docker"),)


@pytest.mark.parametrize(
    "value",
    [
        [{"names": [], "target": None}],
        [{"names": ["*"]}, {"names": ["*"], "target": None}],
        [{"names": "*", "target": None}],
        [{"names": [7], "target": None}],
        [{"names": ["*"], "target": 7}],
        [{"names": ["*"], "target": ""}],
        [{"names": ["*"], "target": "a\nb"}],
        [{"names": ["*"], "target": None, "more": 1}],
        [{"names": ["*"], "target": str(number)} for number in range(65)],
        [{"names": ["*"] * 257, "target": None}],
        ["*"],
    ],
    ids=["no names", "two for all", "text", "number", "target", "empty target", "two lines", "more", "many rules",
         "many patterns", "no object"],
)  # fmt: skip
def test_rules_of_another_form_are_refused(value: list[object]):
    with pytest.raises(FormatError):
        NameRules.from_json(Fields({"rules": value}, "rules").children("rules"))


PATTERNS = st.from_regex(r"\A[a-z]{1,8}\.example/[a-z*]{1,8}\Z").filter(lambda text: text.isascii())


@settings(max_examples=25)
@given(
    st.lists(PATTERNS, min_size=1, max_size=4),
    st.one_of(st.none(), st.just("docker"), st.just("oci:/srv/x y")),
)
def test_rules_are_read_as_they_were_written(patterns: list[str], target: str | None):
    rules = NameRules((NameRule(tuple(patterns), target),))
    fields = Fields({"rules": json.loads(json.dumps(rules.value))}, "rules")
    assert NameRules.from_json(fields.children("rules")) == rules


@settings(max_examples=25)
@given(st.text(max_size=40))
def test_a_text_is_a_pattern_or_refused(text: str):
    try:
        check_pattern(text)
    except AirgapError:
        return
    assert text.isascii()
    assert "?" not in text
