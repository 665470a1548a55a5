"""Finds the images that `docker compose up` would run (Compose specification).

The environment of the machine is not used unless the person asks for it: the result is the same everywhere.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from airgap.discover.compose_guesses import add_guesses
from airgap.discover.compose_load import load_project, variables_of
from airgap.discover.compose_merge import RESET, Part, Service, Services
from airgap.discover.context import Context
from airgap.discover.findings import Certainty, Place
from airgap.discover.interpolation import Interpolated
from airgap.discover.limits import MAX_COMPOSE_SERVICES
from airgap.errors import FormatError
from airgap.manifest.platform_text import parse_platform
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar
from airgap.oci.platform import Platform
from airgap.oci.reference import DOCKER_HUB, ImageReference, reference_in
from airgap.values import dataclass

_SHOWN = 200
"""Characters of a text from a file in a message."""
_HOOKS = ("pre_start", "post_start", "pre_stop")
_SET_IT = "set the variable in .env, in a file named with --env-file, or with --var NAME=VALUE"
_BUILD_IT = "build it, then push it to a registry or save it, and list it in the manifest"


def is_compose(document: Node) -> bool:
    """Return whether a YAML document is a Compose file: it has services that say what they run."""
    if not isinstance(document, Mapping) or "apiVersion" in document.pairs:
        return False
    services = document.mapping("services").pairs.values()
    keys = {"image", "build", "extends", "provider"}
    if any(isinstance(service, Mapping) and keys & service.pairs.keys() for service in services):
        return True
    return bool(document.items("include")) and document.pairs.keys() <= _TOP_KEYS


_TOP_KEYS = {"name", "version", "include", "services", "networks", "volumes", "configs", "secrets", "models"}


def read_compose(paths: Sequence[Path], context: Context, folder: Path | None = None) -> None:
    """Add the images of one project.

    Args:
        paths: Its Compose files, each on top of those before it.
        context: Where the images are added.
        folder: The project's folder; by default that of the first file.
    """
    folder = folder or paths[0].parent
    variables = variables_of(context, folder)
    services = load_project(context, paths, folder, variables)
    active = list(context.choices.profiles) or [
        profile.strip() for profile in variables.get("COMPOSE_PROFILES", "").split(",")
    ]
    built = set(_built_names(services))
    if len(services) > MAX_COMPOSE_SERVICES:
        what = f"too many services, want at most {MAX_COMPOSE_SERVICES:,}; the rest is not read"
        context.findings.add_problem(Place(file=str(paths[0]), line=0), what)
    for name, service in islice(services.items(), MAX_COMPOSE_SERVICES):
        _Reader(context, name, service, _inactive(service, active), built).read()


def _built_names(services: Services) -> Iterator[ImageReference]:
    """Yield the names of the images that services build."""
    for service in services.values():
        if "build" in service and (image := service.get("image")):
            reference = reference_in(image[-1].value().text)
            if reference:
                yield reference


def _inactive(service: Service, active: Sequence[str]) -> str | None:
    """Return why a service does not start by default: none of its profiles is active."""
    parts = service.get("profiles", ())
    profiles = [item.value().text for part in parts for item in part.items()]
    if not profiles or "*" in active or set(profiles) & set(active):
        return None
    return f"profile {', '.join(dict.fromkeys(profiles))}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one service."""

    context: Context
    name: str
    service: Service
    optional: str | None
    built: set[ImageReference]

    @property
    def user(self) -> str:
        return f"service {self.name}"

    def read(self) -> None:
        image, build = self._top("image"), self._top("build")
        value = image.value() if image else None
        if image and value and (value.text or value.variables or value.errors):
            if not (build and self._is_never_pulled(image)):
                self._image(image, self.user)
        elif build:
            self._warn(build, "built from its source, and has no image to carry", _BUILD_IT)
        elif not {"provider", "extends"} & self.service.keys():
            self._no_image()
        for volume in self._image_volumes():
            self._image(volume, f"volume of {self.user}")
        add_guesses(self.service, self.user, self.optional, self.context)
        for key in _HOOKS:
            for hook in (hook for part in self.service.get(key, ()) for hook in part.items()):
                if named := hook.get("image"):
                    self._image(named, f"{key} hook of {self.user}")

    def _top(self, key: str) -> Part | None:
        parts = self.service.get(key)
        return parts[-1] if parts and parts[-1].node.tag != RESET else None

    def _warn(self, part: Part, what: str, hint: str) -> None:
        self.context.findings.add_warning(part.place, what, hint=hint, user=self.user)

    def _report(self, part: Part, what: str, hint: str, user: str) -> None:
        """Add a problem; a warning if the service does not start by default."""
        add = self.context.findings.add_warning if self.optional else self.context.findings.add_problem
        add(part.place, what, hint=hint, user=user)

    def _no_image(self) -> None:
        part = next((parts[-1] for parts in self.service.values()), None)
        if part is not None:
            hint = "name all files of the project together, the base file first"
            self._report(part, "neither image nor build in these files", hint, self.user)

    def _is_never_pulled(self, image: Part) -> bool:
        """Return whether the image of a service that is built comes from the build only."""
        policy = self._top("pull_policy")
        if policy is None or policy.value().text not in ("build", "never"):
            return False
        self._warn(image, "its image is built from its source, and never pulled", _BUILD_IT)
        return True

    def _image_volumes(self) -> list[Part]:
        """Return the sources of volumes that are images; the last file decides for each target."""
        by_target: dict[str, Part | None] = {}
        for part in self.service.get("volumes", ()):
            for number, volume in enumerate(part.items()):
                kind, source, target = (volume.get(key) for key in ("type", "source", "target"))
                is_image = kind is not None and kind.value().text == "image"
                place = target.value().text if target else f"{part.place} {number}"
                by_target[place] = source if is_image else None
        return [source for source in by_target.values() if source]

    def _image(self, part: Part, user: str) -> None:
        value = part.value()
        written = part.node.text if isinstance(part.node, Scalar) else ""
        if value.errors:
            self._report(part, f"{written[:_SHOWN]!r} cannot be resolved: {value.errors[0]}", _SET_IT, user)
            return
        if value.unset and not self._is_usable(part, value, user):
            return
        certainty, note = (Certainty.DERIVED if value.variables else Certainty.SURE), None
        reference = reference_in(value.text)
        if reference in self.built:
            certainty, note = _certainty_if_built(reference), "built from its source if it cannot be pulled"
        self.context.findings.add_image(
            value.text, part.place, certainty=certainty, user=user, written=written,
            platforms=self._platforms(), optional=self.optional, note=note,
        )  # fmt: skip

    def _is_usable(self, part: Part, value: Interpolated, user: str) -> bool:
        """Return whether a name with unset variables is the name of an image, as Compose would use it."""
        names = f"{' and '.join(value.unset)} {'have' if len(value.unset) > 1 else 'has'} no value"
        if reference_in(value.text) is None:
            what = f"{value.text[:_SHOWN]!r} is not the name of an image, because {names}"
            self._report(part, what, _SET_IT, user)
            return False
        self._warn(part, f"{names}, so the image is {value.text[:_SHOWN]}", _SET_IT)
        return True

    def _platforms(self) -> tuple[Platform, ...]:
        part = self._top("platform")
        text = part.value().text if part else ""
        try:
            return (parse_platform(text),) if text else ()
        except FormatError as error:
            if part:
                self._warn(part, f"{error.what}, got {error.got}", error.hint or "write linux/amd64")
            return ()


def _certainty_if_built(reference: ImageReference) -> Certainty:
    """Return how sure it is that a registry has an image that the files can also build: a name without
    a registry and without an account is probably only the result of the build.
    """
    is_plain = reference.registry == DOCKER_HUB and reference.repository.startswith("library/")
    return Certainty.GUESS if is_plain else Certainty.DERIVED
