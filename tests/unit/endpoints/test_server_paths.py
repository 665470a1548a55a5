from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.server.paths import Route, RouteKind, Span, parse_path, parse_range, select_page

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/v2", Route(RouteKind.BASE)),
        ("/v2/", Route(RouteKind.BASE)),
        ("/v2/?x=1", Route(RouteKind.BASE)),
        ("/v2/_catalog", Route(RouteKind.CATALOG)),
        ("/v2/_catalog?n=2", Route(RouteKind.CATALOG, query="n=2")),
        ("/v2/a/tags/list", Route(RouteKind.TAGS, "a")),
        ("/v2/a/b/c/tags/list?n=1&last=x", Route(RouteKind.TAGS, "a/b/c", query="n=1&last=x")),
        ("/v2/a/manifests/1.0", Route(RouteKind.MANIFEST, "a", "1.0")),
        ("/v2/a/manifests/1.0?ns=docker.io", Route(RouteKind.MANIFEST, "a", "1.0", "ns=docker.io")),
        ("/v2/manifests/blobs/manifests/tags", Route(RouteKind.MANIFEST, "manifests/blobs", "tags")),
        ("/v2/tags/list/tags/list", Route(RouteKind.TAGS, "tags/list")),
        (f"/v2/a/blobs/{DIGEST}", Route(RouteKind.BLOB, "a", DIGEST)),
        ("/v2/a/blobs/sha256%3A" + "a" * 64, Route(RouteKind.BLOB, "a", DIGEST)),
        (f"/v2/localhost:5000/a/referrers/{DIGEST}", Route(RouteKind.REFERRERS, "localhost:5000/a", DIGEST)),
    ],
)
def test_paths_of_the_api(target: str, route: Route):
    assert parse_path(target) == route


@pytest.mark.parametrize(
    "target",
    [
        "", "*", "/", "/v1/", "/v22/", "v2/", "/v2/a", "/v2//", "/v2/a/", "/v2/_catalog/",
        "/v2/manifests/1.0", "/v2//manifests/1.0", "/v2/a//manifests/1.0", "/v2/a/manifests/", "/v2/a/blobs",
        "/v2/tags/list", "/v2/a/tags", "/v2/a/tags/list/", "/v2/a/tags/other", "/v2/a/blobs/uploads/",
        "/v2/a/manifests/b/c", "/v2/a/manifests/b%2Fc", "/v2/a%2fb/manifests/c", "/v2/a/manifests/%ff", "http://host/v2/",
        "/../v2/", "/v2/..%2f..%2fetc/passwd", "/index.json", "/blobs/sha256/" + "a" * 64,
    ],
)  # fmt: skip
def test_other_paths(target: str):
    assert parse_path(target) is None


@given(st.text(max_size=60) | st.text("/v2abc%.:?&=_", max_size=60).map("/v2/".__add__))
def test_any_path_is_a_route_or_none(target: str):
    route = parse_path(target)
    if route is not None and route.kind not in (RouteKind.BASE, RouteKind.CATALOG):
        assert route.name
        assert "" not in route.name.split("/")
        assert "/" not in route.reference
        assert bool(route.reference) == (route.kind is not RouteKind.TAGS)


names = st.lists(st.text("abc09._-", min_size=1, max_size=8), min_size=1, max_size=4).map("/".join)


@given(names, st.sampled_from(["manifests", "blobs", "referrers"]), st.text("abc:.", min_size=1, max_size=20))
def test_every_name_comes_back(name: str, kind: str, reference: str):
    assert parse_path(f"/v2/{name}/{kind}/{reference}?q") == Route(RouteKind(kind), name, reference, "q")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("n=3", "3"),
        ("n=3&n=4", "3"),
        ("n=", None),
        ("n=%ff", None),
        ("&".join(["n=1"] * 17), None),
    ],
)
def test_arguments(query: str, value: str | None):
    assert Route(RouteKind.TAGS, "a", query=query).argument("n") == value


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-9", Span(0, 10)),
        ("bytes=3-", Span(3, 10)),
        ("bytes=3-99999", Span(3, 10)),
        ("bytes=-4", Span(6, 10)),
        ("bytes=-99", Span(0, 10)),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("", None),
    ],
)
def test_ranges(header: str | None, span: Span | None):
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(
    "header",
    ["bytes=10-", "bytes=10-11", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=", "bytes=a-b", "bytes=1", "bytes=+1-2",
     "bytes=1 -2", "bytes=--1", "bytes=" + "9" * 30 + "-", "bytes=\u0661-\u0662"],
)  # fmt: skip
def test_bad_ranges(header: str):
    with pytest.raises(ValueError):
        parse_range(header, 10)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_empty_content_has_no_ranges(header: str):
    with pytest.raises(ValueError):
        parse_range(header, 0)


@given(st.text("0123456789-,=bytes ", max_size=30).map("bytes=".__add__), st.integers(0, 1000))
def test_any_range_lies_inside(header: str, size: int):
    with suppress(ValueError):
        span = parse_range(header, size)
        assert span is None or 0 <= span.start < span.end <= size


@pytest.mark.parametrize(
    ("count", "last", "found", "more"),
    [
        (None, None, ["a", "b", "c"], False),
        ("2", None, ["a", "b"], True),
        ("2", "b", ["c"], False),
        ("3", None, ["a", "b", "c"], False),
        ("0", None, [], False),
        ("9", "aa", ["b", "c"], False),
        (None, "z", [], False),
    ],
)
def test_pages(count: str | None, last: str | None, found: list[str], more: bool):
    assert select_page(["a", "b", "c"], count, last) == (found, more)


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "9" * 10, " 1", "\u0661"])
def test_bad_page_sizes(count: str):
    with pytest.raises(ValueError):
        select_page(["a"], count, None)


@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 4))
def test_pages_make_the_whole(names: set[str], count: int):
    everything, last, more = [], None, True
    while more:
        found, more = select_page(sorted(names), str(count), last)
        everything += found
        last = found[-1] if found else None
    assert everything == sorted(names)
