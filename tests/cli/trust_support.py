"""What the tests of trust changes share."""

from pathlib import Path

from tests.cli.conftest import Gap, Side


def person(gap: Gap, side: Side, name: str) -> tuple[Path, str]:
    """A key made at a side: its public file, and the id that its owner tells."""
    made = side("key", "generate", name, "--json").json
    path = gap.folder / f"{name}.pub"
    path.write_text(side("key", "show", name).out)
    return path, made["keyid"]


def add(gap: Gap, name: str, *words: str, side: Side | None = None) -> str:
    path, keyid = person(gap, side or gap.online, name)
    gap.online("trust", "add", name, "--key", path, "--keyid", keyid, *words)
    return keyid


def version(side: Side) -> int:
    return int(side("trust", "show", "--json").json["version"])


# -- two persons


def proposed(gap: Gap, bob: Side) -> Path:
    """Root 2 lets both sign roots, and wants both; a proposal for root 3, signed by alice."""
    path, keyid = person(gap, bob, "bob")
    words = ("--key", path, "--keyid", keyid, "--role", "root", "--role", "release")
    done = gap.online("trust", "add", "bob", *words, "--json").json
    bob("trust", "install", done["path"])
    half = gap.folder / "two.json"
    both = gap.online(
        "trust", "threshold", "root", "2", "--distinct-owners", "--proposal", half, "--json"
    ).json
    assert both["installed"] is False
    assert both["who"] == ["bob"]
    assert version(gap.online) == 2
    bob("trust", "sign", half, "--yes")
    gap.online("trust", "install", half)
    last = gap.folder / "last.json"
    gap.online("trust", "rotate", "--days", "400", "--proposal", last)
    return last
