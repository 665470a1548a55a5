"""Loads the Compose files of a project: env files, files on top of each other, `include`, `extends`.

Relative names start from the project's folder, except in a file that is included or extended, where they
start from that file's folder, or from the `project_directory` that `include` gives.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import field
from pathlib import Path

from airgap.discover.compose_merge import (
    Part,
    Service,
    Services,
    merge_service,
    merge_services,
    service_of,
)
from airgap.discover.context import Context
from airgap.discover.dotenv import parse_dotenv
from airgap.discover.findings import Place
from airgap.discover.limits import MAX_INCLUDED_DEPTH, MAX_INCLUDED_FILES
from airgap.manifest.yaml_nodes import Node, Scalar
from airgap.values import dataclass

ENV_FILE = ".env"
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/|[^/\s]+\.git(#|$)")
_SET_IT = "set the variables in .env, in a file named with --env-file, or with --var NAME=VALUE"


def variables_of(context: Context, folder: Path) -> dict[str, str]:
    """Return the variables of a project: those of the person, then of its env files, the last file first."""
    given = list(context.choices.env_files)
    if not given and context.sources.exists(folder / ENV_FILE):
        given = [folder / ENV_FILE]
    return {**_read_variables(context, given, dict(context.choices.variables)), **context.choices.variables}


def load_project(
    context: Context, paths: Sequence[Path], folder: Path, variables: Mapping[str, str]
) -> Services:
    """Return the services of the Compose files `paths`, each on top of those before it.

    Args:
        context: Where what cannot be read is added as a problem.
        paths: The files.
        folder: The project's folder.
        variables: What replaces variables in the files.
    """
    loader = _Loader(context)
    return loader.load(paths, _Scope(folder, variables), None)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the names and variables in a file refer to."""

    folder: Path
    variables: Mapping[str, str]
    chain: tuple[Path, ...] = ()
    """The files that include this one."""


@dataclass(slots=True)
class _Loader:
    context: Context
    _count: int = 0
    _documents: dict[Path, tuple[Node, ...]] = field(default_factory=dict)

    def load(self, paths: Sequence[Path], scope: _Scope, named_at: Place | None) -> Services:
        services: Services = {}
        for path in paths:
            for document in self._parts(path, scope.variables, named_at):
                if include := document.get("include"):
                    for item in include.items() if isinstance(include.node, Scalar) else _list(include):
                        services = {**self._include(item, scope), **services}
                services = merge_services(services, self._services(document, path, scope.folder))
        return services

    def _parts(self, path: Path, variables: Mapping[str, str], named_at: Place | None) -> Iterator[Part]:
        """Yield the documents of a file; adds a problem if it cannot be read."""
        self._count += 1
        if self._count > MAX_INCLUDED_FILES:
            if named_at:
                self.context.findings.add_problem(
                    named_at, f"more than {MAX_INCLUDED_FILES:,} included files"
                )
            return
        file = self.context.read(path, named_at)
        if file is None:
            return
        self.context.used.add(path.resolve())
        if path not in self._documents:
            self._documents[path] = self.context.documents(file)
        for node in self._documents[path]:
            yield Part(file=file, node=node, variables=variables)

    def _services(self, document: Part, path: Path, folder: Path) -> dict[str, tuple[Part, Service]]:
        services = document.get("services")
        own = dict(services.pairs()) if services else {}
        return {
            name: (part, self._extended(part, own, folder, ((path, name),))) for name, part in own.items()
        }

    # -- extends

    def _extended(
        self, part: Part, own: Mapping[str, Part], folder: Path, chain: tuple[tuple[Path, str], ...]
    ) -> Service:
        """Return a service with what it extends below it."""
        service = service_of(part)
        extends = service.pop("extends", None)
        if extends is None:
            return service
        name, path = self._target(extends[0], folder)
        if path is not None:
            own, folder = self._services_of(path, extends[0]), path.parent
        step = (path or chain[-1][0], name)
        if name in own and step not in chain and len(chain) < MAX_INCLUDED_DEPTH:
            return merge_service(self._extended(own[name], own, folder, (*chain, step)), service)
        why = "extends itself" if step in chain else f"extends the service {name!r}, which is not there"
        self.context.findings.add_problem(extends[0].place, f"service {chain[0][1]} {why}")
        return service

    def _target(self, extends: Part, folder: Path) -> tuple[str, Path | None]:
        """Return the service that is extended, and its file if that is another one."""
        if isinstance(extends.node, Scalar):
            return extends.value().text, None
        name, file = extends.get("service"), extends.get("file")
        text = name.value().text if name else ""
        return text, self._path(file, folder) if file else None

    def _services_of(self, path: Path, named_by: Part) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for document in self._parts(path, named_by.variables, named_by.place):
            services = document.get("services")
            found.update(services.pairs() if services else ())
        return found

    # -- include

    def _include(self, item: Part, scope: _Scope) -> Services:
        """Return the services of an item of `include`, which is a project of its own."""
        named = item if isinstance(item.node, Scalar) else item.get("path")
        paths = [self._path(part, scope.folder) for part in named.items()] if named else []
        found = [path for path in paths if path is not None]
        if not found:
            return {}
        if len(scope.chain) >= MAX_INCLUDED_DEPTH or any(path in scope.chain for path in found):
            self.context.findings.add_problem(item.place, "a file that includes itself, or too many levels")
            return {}
        directory = item.get("project_directory")
        folder = (self._path(directory, scope.folder) if directory else None) or found[0].parent
        return self.load(
            found, _Scope(folder, self._variables(item, scope, folder), (*scope.chain, *found)), item.place
        )

    def _variables(self, item: Part, scope: _Scope, folder: Path) -> Mapping[str, str]:
        """Return the variables of an included project; those of the project around it have precedence."""
        named = item.get("env_file")
        files = [self._path(part, scope.folder) for part in named.items()] if named else []
        if not named and self.context.sources.exists(folder / ENV_FILE):
            files = [folder / ENV_FILE]
        if not files:
            return scope.variables
        found = [path for path in files if path]
        own = _read_variables(self.context, found, dict(scope.variables), item.place)
        return ChainMap(dict(scope.variables), own)

    def _path(self, part: Part, folder: Path) -> Path | None:
        """Return the path that `part` names; None, after adding a problem, if it cannot be read from here."""
        value = part.value()
        if value.errors or value.unset or not value.text:
            why = value.errors[0] if value.errors else f"{' and '.join(value.unset) or 'it'} has no value"
            self.context.findings.add_problem(part.place, f"a file that cannot be found: {why}", hint=_SET_IT)
            return None
        if _REMOTE.match(value.text):
            what = f"a file of another host, which is not fetched, got {value.text}"
            self.context.findings.add_problem(part.place, what, hint="fetch it, and name the copy")
            return None
        return folder / value.text


def _list(part: Part) -> Iterator[Part]:
    """Yield the items of a list; a mapping alone is one item."""
    items = list(part.items())
    yield from items or [part]


def _read_variables(
    context: Context, paths: Sequence[Path], above: MutableMapping[str, str], named_at: Place | None = None
) -> dict[str, str]:
    values: dict[str, str] = {}
    for path in paths:
        file = context.read(path, named_at)
        if file is None:
            continue
        found = parse_dotenv(file.text, ChainMap(above, values))
        for line, reason in found.problems:
            context.findings.add_warning(Place(file=file.name, line=line), reason, hint="Compose refuses it")
        values.update(found.values)
    return values
