"""The values for charts that a person gives: files, and `KEY=VALUE` as `helm --set` takes it."""

import re

from airgap.discover.chart import EMPTY
from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.discover.kustomize_patches import merge
from airgap.discover.node_edits import set_pair
from airgap.manifest.yaml_nodes import Mapping, Scalar

_PAIR = re.compile(r"([A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+)*)=([^,{}\\]*)", re.ASCII)


def settings(context: Context) -> Mapping:
    """Return the values in the files and pairs that a person gave, the later ones over the earlier ones."""
    result: Mapping = EMPTY
    for path in context.choices.values_files:
        file = context.read(path)
        for document in context.documents(file)[:1] if file else ():
            if isinstance(document, Mapping):
                result = _over(result, document)
    for text in context.choices.values:
        for pair in text.split(","):
            if match := _PAIR.fullmatch(pair):
                result = _set(result, match[1].split("."), Scalar(text=match[2], line=0, start=0, end=0))
            else:
                place = Place(file="--set", line=0)
                context.findings.add_problem(place, f"only Helm can read this value, got {pair[:200]!r}")
    return result


def _over(below: Mapping, above: Mapping) -> Mapping:
    merged = merge(below, above)
    return merged if isinstance(merged, Mapping) else above


def _set(node: Mapping, keys: list[str], value: Scalar) -> Mapping:
    key, *rest = keys
    return set_pair(node, key, _set(node.mapping(key), rest, value) if rest else value)
