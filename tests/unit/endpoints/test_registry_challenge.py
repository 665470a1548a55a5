import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.registry.auth import Challenge
from airgap.errors import EndpointError

GOOD = [
    ("Basic", [Challenge("basic")]),
    ("Basic realm=x", [Challenge("basic", {"realm": "x"})]),
    (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
        [
            Challenge(
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:a/b:pull,push",
                },
            )
        ],
    ),
    ('BEARER  Realm = "a" ,\tservice=""', [Challenge("bearer", {"realm": "a", "service": ""})]),
    (r'Basic realm="a \"quoted\" \\ b"', [Challenge("basic", {"realm": r'a "quoted" \ b'})]),
    ('Negotiate, Basic realm="x"', [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
    ("Bearer realm=", [Challenge("bearer")]),  # a token68, by the grammar
    ("NTLM abc==, Negotiate a/b+c=", [Challenge("ntlm"), Challenge("negotiate")]),
    (
        'Basic realm="x", Bearer realm="y, Digest z"',
        [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y, Digest z"})],
    ),
    (', , Basic realm="x" , ', [Challenge("basic", {"realm": "x"})]),
]


@pytest.mark.parametrize(("text", "found"), GOOD)
def test_parse(text: str, found: list[Challenge]) -> None:
    assert Challenge.parse_all(text, "x") == found


BAD = [
    "", " ", ",,", '"', "=", 'realm="x"', 'Bearer realm="x', 'Bearer realm="x\\"',     'Bearer realm="x" service="y"', 'Bearer realm="x"service="y"', 'Bearer realm="x",REALM="y"',
    "Bearer realm=http://x/", "Bearer\trealm=x", "Bearer: x", "Bearer realm=x;service=y", "Bäarer",
    'Bearer realm="x"\x00', "Basic " + "a" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_malformed(text: str) -> None:
    with pytest.raises(EndpointError, match="malformed"):
        Challenge.parse_all(text, "registry.example")


@given(st.text(alphabet=string.ascii_letters + ' \t,="\\-/+\x7fé', max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        found = Challenge.parse_all(text, "x")
    except EndpointError:
        return
    assert found
    assert all(challenge.scheme == challenge.scheme.lower() for challenge in found)


NAMES = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=8)
VALUES = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, VALUES, max_size=4)), min_size=1, max_size=3))
def test_what_is_written_is_read(wanted: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(
        f"{scheme} {', '.join(f'{k}={quoted(v)}' for k, v in fields.items())}" for scheme, fields in wanted
    )
    assert Challenge.parse_all(text, "x") == [Challenge(scheme, fields) for scheme, fields in wanted]
