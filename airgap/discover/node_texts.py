"""Replaces a text in the source of a YAML file, and compares the result with what it should be."""

from collections.abc import Mapping as AnyMapping

from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, YamlStream

_FLOW_START = ("[", "{")

Expected = AnyMapping[tuple[int, int], str]
"""The new texts, by the offsets of the old ones in the file."""


def replaced_source(source: str, text: str) -> str | None:
    """Return `source`, the characters of one value with its quotes, with `text` as its content.

    Quotes stay, and a block (`|-`, `>-`) with one line keeps its header and its indentation. `text` is the
    name of an image, and needs no escape in quotes.

    Returns:
        None for a block with several lines.
    """
    if source[:1] in ("'", '"'):
        return f"{source[0]}{text}{source[0]}"
    if source[:1] not in ("|", ">"):
        return f'"{text}"' if text.startswith(_FLOW_START) else text
    header, line_end, content = source.partition("\n")
    old = content.strip()
    if not old or "\n" in old:
        return None
    return f"{header}{line_end}{content.replace(old, text, 1)}"


def same_except(before: YamlStream, after: YamlStream, expected: Expected) -> bool:
    """Return whether `after` has the same documents as `before` with only the `expected` texts replaced.

    Lines and offsets may differ; keys and their order, tags, and what could not be read may not.
    """
    if [(one.what, one.got) for one in before.problems] != [(one.what, one.got) for one in after.problems]:
        return False
    pairs = zip(before.documents, after.documents, strict=False)
    return len(before.documents) == len(after.documents) and all(_same(*pair, expected) for pair in pairs)


def _same(before: Node, after: Node, expected: Expected) -> bool:
    if before.tag != after.tag:
        return False
    match before, after:
        case Scalar(), Scalar():
            new = expected.get((before.start, before.end))
            if new is not None:
                return after.text == new
            return (before.text, before.is_plain) == (after.text, after.is_plain)
        case Sequence(), Sequence():
            pairs = zip(before.items, after.items, strict=False)
            return len(before.items) == len(after.items) and all(_same(*pair, expected) for pair in pairs)
        case Mapping(), Mapping():
            return list(before.pairs) == list(after.pairs) and all(
                _same(node, after.pairs[key], expected) for key, node in before.pairs.items()
            )
        case _:
            return False
