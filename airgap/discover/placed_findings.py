"""Adds what is found in the documents of one file, with the place of each value."""

from dataclasses import dataclass, field

from airgap.discover.context import place_of
from airgap.discover.findings import Certainty, Findings, Place
from airgap.discover.image_text import is_template
from airgap.discover.sources import SourceFile
from airgap.discover.template_parameters import Parameters, fill_in
from airgap.manifest.yaml_nodes import Node, Scalar

_rank = tuple(Certainty).index
TEMPLATE_HINT = "another program fills in this template; run discover on its output"


@dataclass(slots=True, kw_only=True)
class PlacedFindings:
    """Adds findings with the place of a value in `file`."""

    findings: Findings
    file: SourceFile
    places: dict[int, Place] = field(default_factory=dict)
    """The places of values that come from another file, by `id` of the value: patches of kustomize."""
    written: dict[int, str] = field(default_factory=dict)
    """The text in the file, by `id` of the value, where it was changed by transformers of kustomize."""
    parameters: Parameters = field(default_factory=dict)
    """The parameters of the object that is read."""
    is_rendered: bool = False
    """Whether `file` is the output of a program: then its name is known and its lines are not."""

    def place(self, node: Node) -> Place:
        """Return where `node` stands."""
        if self.is_rendered:
            return Place(file=self.file.name, line=0)
        place = self.places.get(id(node)) or place_of(self.file, node)
        return Place(file=place.file, line=place.line) if id(node) in self.written else place

    def add_image(
        self,
        node: Scalar,
        user: str,
        certainty: Certainty,
        *,
        name: str | None = None,
        optional: str | None = None,
    ) -> None:
        """Add the image that `node` names; a problem if another program still has to fill it in.

        Args:
            node: The value.
            user: What uses the image.
            certainty: How sure it is, if the value is not changed on the way.
            name: The name of the image, if it is only a part of the value, or more than it.
            optional: Why it does not run by default.
        """
        text = node.text if name is None else name
        if is_template(text):
            filled = fill_in(text, self.parameters)
            for value in filled:
                self.add_image(node, user, max(certainty, Certainty.DERIVED, key=_rank), name=value)
            if not filled and certainty is not Certainty.GUESS:
                what = f"the name of the image cannot be resolved, got {text[:200]!r}"
                self.findings.add_problem(self.place(node), what, hint=TEMPLATE_HINT, user=user)
            return
        is_changed = self.is_rendered or id(node) in self.written
        if is_changed and certainty is Certainty.SURE:
            certainty = Certainty.DERIVED
        place = self.place(node)
        if name is not None and name != node.text:
            place = Place(file=place.file, line=place.line + _lines_before(name, node, self.file.text))
        self.findings.add_image(
            text, place, certainty=certainty, user=user, written=self.written.get(id(node), node.text[:1000]),
            optional=optional,
        )  # fmt: skip

    def add_problem(self, node: Node, what: str, hint: str, user: str) -> None:
        """Add something about `user` that could not be read or resolved."""
        self.findings.add_problem(self.place(node), what, hint=hint, user=user)

    def add_warning(self, node: Node, what: str, hint: str, user: str) -> None:
        """Add something about `user` that a person should know."""
        self.findings.add_warning(self.place(node), what, hint=hint, user=user)


def _lines_before(name: str, node: Scalar, text: str) -> int:
    """Return how many lines after the start of `node` the name stands, if its lines are those of the file."""
    source = text[node.start : node.end]
    is_block = source.startswith("|")
    if not is_block and source != node.text:
        return 0
    return node.text.partition(name)[0].count("\n") + is_block
