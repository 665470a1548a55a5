"""Builds kustomizations, as far as it changes images: resources, components, patches and `images:`.

The order is that of `kustomize build`: the resources and bases, then the components one after the other,
then the kustomization's own patches, then its `images:`. What needs the network or another program is a
problem with its line. As in kustomize, a base may be any folder with a kustomization that is named relative
to the one that uses it, and files must be below the given folders or below their kustomization.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airgap.discover.context import Context, place_of
from airgap.discover.findings import Place
from airgap.discover.kubernetes import objects_in, read_kubernetes
from airgap.discover.kustomize_images import Changes, ImageRule, ImageTransformer
from airgap.discover.kustomize_parts import RENDER_HINT, add_generated, report_what_is_not_read
from airgap.discover.kustomize_patches import apply_operations, merge
from airgap.discover.kustomize_sources import find_kustomization, is_remote, local_folder, tidy
from airgap.discover.kustomize_targets import Resource, Target
from airgap.discover.limits import MAX_KUSTOMIZE_DEPTH, MAX_KUSTOMIZE_VALUES
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.sources import SourceFile
from airgap.errors import FormatError, PolicyError
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_nodes

_KUSTOMIZATION_WORK = 100
"""What building a kustomization counts as, in values."""


def read_kustomizations(folders: Iterable[Path], context: Context) -> None:
    """Add the images of the objects that `kustomize build` would write for each of `folders`."""
    build = _Build(context)
    for folder in folders:
        build.start()
        _read(folder, build, context)


def _read(folder: Path, build: "_Build", context: Context) -> None:
    place = Place(file=str(folder), line=0)
    try:
        resources = build.resources_of(folder, place)
    except PolicyError as error:
        context.findings.add_problem(place, str(error), hint=RENDER_HINT)
        return
    for resource in resources:
        placed = PlacedFindings(
            findings=context.findings, file=resource.file,
            places=build.changes.places, written=build.changes.written,
        )  # fmt: skip
        read_kubernetes((resource.node,), placed)


@dataclass(slots=True)
class _Build:
    context: Context
    changes: Changes = field(default_factory=Changes)
    _open: list[Path] = field(default_factory=list)
    """The folders of the kustomizations that are being built, each used by the one before."""
    _work: int = 0
    _parsed: dict[Path, tuple[Node, ...]] = field(default_factory=dict)
    _bases: dict[Path, list[Resource]] = field(default_factory=dict)

    def start(self) -> None:
        """Begin another kustomization, which may use what was built before."""
        self._work = 0
        self._open = []

    def resources_of(self, folder: Path, named_at: Place) -> list[Resource]:
        """Return the objects of the kustomization in `folder`, after its patches and image rules."""
        return self._build(folder, named_at, [])

    def _build(self, folder: Path, named_at: Place, resources: list[Resource]) -> list[Resource]:
        """Return `resources`, of which a component changes those of its user, with those of `folder`."""
        path = find_kustomization(folder, self.context)
        real = folder.resolve()
        if real in self._open or len(self._open) >= MAX_KUSTOMIZE_DEPTH:
            self.context.findings.add_problem(
                named_at, f"kustomizations that use each other in a circle, got {folder}"
            )
            return resources
        file = self.context.read(path, named_at) if path else None
        if path:
            self.context.mark_used(path)
        if file is None:
            if path is None:
                self.context.findings.add_problem(named_at, f"there is no kustomization.yaml, got {folder}")
            return resources
        self._open.append(real)
        self._count(_KUSTOMIZATION_WORK)
        for document in self._documents(file)[:1]:
            if isinstance(document, Mapping):
                resources = self._apply(document, file, resources)
        self._open.pop()
        return resources

    def _apply(self, node: Mapping, file: SourceFile, resources: list[Resource]) -> list[Resource]:
        resources = [*resources, *self._own_resources(node, file)]
        for component in _texts(node, "components"):
            if folder := self._folder(component, file):
                resources = self._build(folder, place_of(file, component), resources)
        add_generated(node, file, self.context)
        report_what_is_not_read(node, file, self.context)
        resources = self._patch(node, file, resources)
        resources = self._rename(node, file, resources)
        return [resource.renamed(node.text("namePrefix"), node.text("nameSuffix")) for resource in resources]

    # -- what a kustomization consists of

    def _own_resources(self, node: Mapping, file: SourceFile) -> Iterator[Resource]:
        for entry in (*_texts(node, "resources"), *_texts(node, "bases")):
            path = tidy(file.folder / entry.text)
            if is_remote(entry.text):
                what = f"a remote resource of a kustomization, got {entry.text[:200]!r}"
                self.context.findings.add_problem(place_of(file, entry), what, hint=RENDER_HINT)
            elif path.is_dir():
                if folder := self._folder(entry, file):
                    yield from self._base(folder, place_of(file, entry))
            elif found := self._file(entry, file):
                yield from self._objects(found)

    def _base(self, folder: Path, named_at: Place) -> list[Resource]:
        """Return the objects of a base, which is built once however often it is used."""
        real = folder.resolve()
        if real not in self._bases:
            self._bases[real] = self._build(folder, named_at, [])
        self._count(sum(resource.node.size for resource in self._bases[real]))
        return self._bases[real]

    def _folder(self, entry: Scalar, file: SourceFile) -> Path | None:
        if is_remote(entry.text):
            what = f"a remote part of a kustomization, got {entry.text[:200]!r}"
            self.context.findings.add_problem(place_of(file, entry), what, hint=RENDER_HINT)
            return None
        return local_folder(entry.text, file, self.context, place_of(file, entry))

    def _file(self, entry: Scalar, file: SourceFile) -> SourceFile | None:
        path = tidy(file.folder / entry.text)
        self.context.mark_used(path)
        return self.context.read(path, place_of(file, entry))

    def _objects(self, file: SourceFile) -> Iterator[Resource]:
        for found in objects_in(self._documents(file)):
            self._count(found.node.size)
            yield Resource(file=file, node=found.node, names=frozenset({found.name}))

    def _documents(self, file: SourceFile) -> tuple[Node, ...]:
        if file.path not in self._parsed:
            self._parsed[file.path] = self.context.documents(file)
        return self._parsed[file.path]

    # -- patches

    def _patch(self, node: Mapping, file: SourceFile, resources: list[Resource]) -> list[Resource]:
        for entry in (
            *node.items("patchesStrategicMerge"),
            *node.items("patches"),
            *node.items("patchesJson6902"),
        ):
            target = Target.parse(entry.mapping("target")) if isinstance(entry, Mapping) else None
            for document in self._patch_documents(entry, file):
                try:
                    resources = self._patch_all(document, target, resources, place_of(file, entry))
                except FormatError as error:
                    self.context.findings.add_problem(place_of(file, entry), f"{error.what}, got {error.got}")
        return resources

    def _patch_documents(self, entry: Node, file: SourceFile) -> list[Node]:
        """Return the documents of a patch, after keeping the places of their values."""
        path = entry.scalar("path") if isinstance(entry, Mapping) else None
        inline = entry.scalar("patch") if isinstance(entry, Mapping) else None
        if isinstance(entry, Scalar):
            path, inline = (None, entry) if "\n" in entry.text else (entry, None)
        if inline:
            return self._inline_documents(inline, file)
        found = self._file(path, file) if path else None
        documents = list(self._documents(found)) if found else []
        for document in documents:
            self._count(document.size)
            self.changes.set_places(document, lambda node: place_of(found, node))  # type: ignore[arg-type]
        return documents

    def _inline_documents(self, inline: Scalar, file: SourceFile) -> list[Node]:
        stream = parse_nodes(inline.text)
        for problem in stream.problems:
            place = Place(file=file.name, line=inline.line + problem.line)
            self.context.findings.add_problem(place, f"a patch: {problem.what}, got {problem.got}")
        for document in stream.documents:
            self.changes.set_places(
                document, lambda node: Place(file=file.name, line=inline.line + node.line - inline.is_plain)
            )
        return list(stream.documents)

    def _patch_all(
        self, patch: Node, target: Target | None, resources: list[Resource], place: Place
    ) -> list[Resource]:
        if target is None and isinstance(patch, Mapping):
            target = Target.of_patch(patch)
        changed: list[Resource] = []
        is_used = False
        for resource in resources:
            if target is None or not target.matches(resource):
                changed.append(resource)
                continue
            is_used = True
            self._count(patch.size + resource.node.size)
            node = _patched(resource.node, patch)
            if isinstance(node, Mapping):
                changed.append(resource.with_node(node))
        if not is_used and _is_about_images(patch):
            self.context.findings.add_warning(place, "a patch that changes nothing: there is no such object")
        return changed

    # -- images

    def _rename(self, node: Mapping, file: SourceFile, resources: list[Resource]) -> list[Resource]:
        for entry in node.items("images"):
            if not isinstance(entry, Mapping):
                continue
            transformer = ImageTransformer(ImageRule.parse(entry), self.changes)
            renamed: list[Resource] = []
            for resource in resources:
                self._count(resource.node.size)
                new = transformer.apply(resource.node)
                renamed.append(resource.with_node(new) if isinstance(new, Mapping) else resource)
            resources = renamed
            if not transformer.has_matched:
                what = f"an image rule that changes nothing: no object has the image {entry.text('name')!r}"
                self.context.findings.add_warning(
                    place_of(file, entry), what, hint="compare it with the names in the base"
                )
        return resources

    def _count(self, values: int) -> None:
        self._work += values
        if self._work > MAX_KUSTOMIZE_VALUES:
            want = f"at most {MAX_KUSTOMIZE_VALUES:,} values"
            raise PolicyError("kustomizations that repeat their objects too often", want=want)


def _patched(node: Mapping, patch: Node) -> Node | None:
    return apply_operations(node, patch.items) if isinstance(patch, Sequence) else merge(node, patch)


def _texts(node: Mapping, key: str) -> Iterator[Scalar]:
    return (item for item in node.items(key) if isinstance(item, Scalar) and item.text)


def _is_about_images(node: Node) -> bool:
    """Return whether a patch names an image, so that it matters if it changes nothing."""
    if isinstance(node, Scalar):
        return False
    if isinstance(node, Sequence):
        return any(_is_about_images(item) for item in node.items)
    return (
        "image" in node.pairs
        or "image" in node.text("path")
        or any(map(_is_about_images, node.pairs.values()))
    )
