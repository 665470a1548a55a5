"""Parts of a kustomization beside objects and patches: what it generates, and what is not read."""

from collections.abc import Iterator
from pathlib import Path

from airgap.discover.context import Context, place_of
from airgap.discover.kustomize_sources import tidy
from airgap.discover.operands import add_text
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

RENDER_HINT = (
    "run `kustomize build` and give its output to discover: kustomize build FOLDER | airgap discover -"
)
_WITHOUT_IMAGES = {
    "LabelTransformer", "AnnotationsTransformer", "NamespaceTransformer", "PrefixTransformer",
    "SuffixTransformer", "PrefixSuffixTransformer", "ReplicaCountTransformer", "SecretGenerator",
}  # fmt: skip
"""Plugins of kustomize itself that change no images."""


def add_generated(node: Mapping, file: SourceFile, context: Context) -> None:
    """Add the images in the literals and files of generated ConfigMaps."""
    for generator in node.items("configMapGenerator"):
        if not isinstance(generator, Mapping):
            continue
        user = f"ConfigMap {generator.text('name')}"
        placed = PlacedFindings(findings=context.findings, file=file)
        for literal in _scalars(generator, "literals"):
            key, _, value = literal.text.partition("=")
            add_text(key, literal, value.strip("'\""), f"{user}, key {key}", placed)
        for entry in (*_scalars(generator, "files"), *_scalars(generator, "envs")):
            _add_file(entry, file, user, context)


def _add_file(entry: Scalar, file: SourceFile, user: str, context: Context) -> None:
    key, equals, path = entry.text.partition("=")
    named = tidy(file.folder / (path if equals else key))
    is_first = context.mark_used(named)  # a file can be listed a million times
    if is_first and (found := context.read(named, place_of(file, entry))):
        whole = Scalar(text=found.text, line=1, start=0, end=len(found.text))
        placed = PlacedFindings(findings=context.findings, file=found)
        add_text(Path(key).name, whole, found.text, f"{user}, file {Path(path or key).name}", placed)


def report_what_is_not_read(node: Mapping, file: SourceFile, context: Context) -> None:
    """Add a problem for each part that only kustomize can read, and that can bring or change images."""
    for key in ("helmCharts", "helmChartInflationGenerator", "generators", "transformers"):
        for entry in node.items(key):
            if not (isinstance(entry, Scalar) and _is_harmless(entry, file, context)):
                what = f"`{key}` of a kustomization is not read"
                context.findings.add_problem(place_of(file, entry), what, hint=RENDER_HINT)
    for entry in node.items("replacements"):
        if isinstance(entry, Mapping) and "image" in _all_text(entry):
            what = "a replacement that changes images is not read"
            context.findings.add_problem(place_of(file, entry), what, hint=RENDER_HINT)


def _is_harmless(entry: Scalar, file: SourceFile, context: Context) -> bool:
    """Return whether a plugin in a file, or in the text itself, changes no images."""
    path = tidy(file.folder / entry.text) if "\n" not in entry.text else None
    found = context.read(path, place_of(file, entry)) if path and context.sources.exists(path) else None
    documents = context.documents(found) if found else ()
    return bool(documents) and all(
        isinstance(document, Mapping) and document.text("kind") in _WITHOUT_IMAGES for document in documents
    )


def _scalars(node: Mapping, key: str) -> Iterator[Scalar]:
    return (item for item in node.items(key) if isinstance(item, Scalar))


def _all_text(node: Node) -> str:
    if isinstance(node, Scalar):
        return node.text
    children = node.items if isinstance(node, Sequence) else node.pairs.values()
    return " ".join(_all_text(child) for child in children)
