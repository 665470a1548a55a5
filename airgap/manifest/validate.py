"""Checks a YAML document against a pydantic model, and reports mistakes in the user's terms with position."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from airgap.errors import FormatError
from airgap.hiding import LOGIN_HINT, has_secret, is_secret_name
from airgap.manifest.strict_yaml import Document, YamlPath, describe_value

_MAX_GOT = 160
_WANTED = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "too_short": "at least one",
    "union_tag_not_found": "an image reference or a mapping",
}
_SHORT = {"hosts": "[USER@]HOST[:PORT]", "files": "a path"}
"""The short form of an item of a list; of `images`, it is an image reference."""
_MEANT = {
    "image": "ref",
    "name": "ref",
    "reference": "ref",
    "repository": "ref",
    "tag": "ref",
    "registry": "ref",
    "platform": "platforms",
    "architecture": "platforms",
    "arch": "platforms",
    "os": "platforms",
    "rename": "as",
    "alias": "as",
    "target": "as",
    "tar": "archive",
    "file": "archive",
    "path": "archive",
    "tarball": "archive",
    "layout": "oci",
    "dir": "oci",
    "key": "cosign-key",
    "semver": "tags",
    "match": "tags",
    "latest": "tags",
    "suffix": "tags",
    "sha256": "digest",
    "sha": "digest",
}
"""Keys of Compose, Kubernetes, Helm, Hauler and Zarf, and the corresponding key of a manifest."""
_PARTS = {
    "tag", "registry", "repository", "architecture", "arch", "os", "semver", "match", "latest", "suffix",
}  # fmt: skip
"""Keys whose value is a part of what the manifest's key needs."""
KEY_EXAMPLES = {
    "ref": "ref: nginx:1.27",
    "as": "as: registry.example/nginx:1.27",
    "platforms": "platforms: [linux/amd64]",
    "tags": 'tags: {semver: ">=1.26 <2", latest: 2}',
    "latest": "latest: 1",
    "version": "version: 1",
    "name": "name: stack",
    "images": "images:, and below it a line `  - nginx:1.27` for each image",
}
_RANK = {"missing": 1, "too_short": 2}
"""A missing key often comes from a misspelt one, and pydantic calls a list with bad items too short."""


class Strict(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def key_names(cls) -> tuple[str, ...]:
        """Return the keys as they are written in the file."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


M = TypeVar("M", bound=Strict)
Forms = Mapping[str, type[Strict]]
"""The models of the items of a list, by their tag in the union; a single form has the tag ``""``."""
Lists = Mapping[str, Forms]
"""The forms of the items of each list of a document, by the list's key: `images`, `files`, `hosts`."""


def validate(model: type[M], document: Document, lists: Lists) -> M:
    """Return `document` as `model`. Raises `FormatError` for the first login, else for the first mistake."""
    _refuse_secrets(document)
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        mistakes = [_Mistake(details, document, model, lists) for details in error.errors(include_url=False)]
        raise min(
            mistakes, key=lambda mistake: mistake.order
        ).error() from None  # pydantic's error repeats the value


def _refuse_secrets(document: Document) -> None:
    """Refuse logins: a manifest's text goes into signed statements and the ledger, and into errors."""
    for yaml_path in document.values:
        key, value = yaml_path[-1] if yaml_path else "", document.find(yaml_path)
        named = yaml_path[:1] == ("transfer",) and len(yaml_path) > 1 and is_secret_name(str(key))
        of_key = isinstance(key, str) and (named or has_secret(key))
        text = value if isinstance(value, str) and key != "source" else ""  # `source` refuses them itself
        if of_key or has_secret(text):
            raise FormatError(
                "a password or token in the file",
                subject=document.at(yaml_path, key=of_key),
                want="names and addresses without a login",
                hint=LOGIN_HINT,
            )


class _Mistake:
    """One of pydantic's errors, with its position in the file."""

    def __init__(self, details: ErrorDetails, document: Document, model: type[Strict], lists: Lists) -> None:
        self._details = details
        self._document = document
        self._kind = details["type"]
        self._model, self._siblings = model, [model]
        yaml_path = list(details["loc"])
        if len(yaml_path) > 2 and (forms := lists.get(str(yaml_path[0]))) is not None:
            # The union's tag is in pydantic's path, but not in the file.
            form = "" if "" in forms else str(yaml_path.pop(2))
            self._model, self._siblings = forms.get(form, model), list(forms.values())
            if len(yaml_path) > 3 and (inner := forms.get(str(yaml_path[2]))):
                self._model, self._siblings = inner, [inner]
        of_map_key = yaml_path[:1] == ["transfer"] and len(yaml_path) == 3
        self._of_key = of_map_key or self._kind == "extra_forbidden"
        self._yaml_path: YamlPath = tuple(
            yaml_path[:-1] if of_map_key or self._kind == "missing" else yaml_path
        )

    @property
    def order(self) -> tuple[int, int, int]:
        """The sort key of mistakes; the least one is reported."""
        at = (self._document.keys if self._of_key else self._document.values)[self._yaml_path]
        return _RANK.get(self._kind, 0), at.line, at.column

    def error(self) -> FormatError:
        where = self._document.at(self._yaml_path, key=self._of_key)
        if self._kind == "format":
            return _moved(self._details["ctx"]["error"], where)
        if self._kind == "extra_forbidden":
            return self._unknown_key(where)
        if self._kind == "missing":
            key = str(self._details["loc"][-1])
            hint = f"write {KEY_EXAMPLES[key]}" if key in KEY_EXAMPLES else None
            return FormatError("missing key", subject=where, want=f"'{key}'", hint=hint)
        got = describe_value(self._document.find(self._yaml_path))
        want = _WANTED.get(self._kind, self._details["msg"])
        short = _SHORT.get(str(self._yaml_path[0]) if self._yaml_path else "", "an image reference")
        want = want.replace("an image reference", short)
        return FormatError("wrong type", subject=where, want=want, got=got, hint=self._list_hint(want))

    def _list_hint(self, want: str) -> str | None:
        """Return a hint if there is a single value instead of a list."""
        key, value = self._yaml_path[-1] if self._yaml_path else None, self._document.find(self._yaml_path)
        if want != "a list" or not isinstance(key, str):
            return None
        if isinstance(value, str) and 0 < len(value) <= _MAX_GOT:
            return f"write it as a list: {key}: [{value}]"
        return (
            f"begin each with a dash: `- {next(iter(value), 'nginx:1.27')}`"
            if isinstance(value, dict)
            else None
        )

    def _unknown_key(self, where: str) -> FormatError:
        key = str(self._yaml_path[-1])
        want = f"one of {', '.join(self._model.key_names())}"
        return FormatError(
            "unknown key", subject=where, want=want, got=describe_value(key), hint=self._hint_for(key)
        )

    def _hint_for(self, key: str) -> str | None:
        known = [name for model in self._siblings for name in model.key_names()]
        if is_secret_name(key):
            return LOGIN_HINT
        if (meant := _MEANT.get(key)) in known and len(self._yaml_path) > 1:
            return self._meant_hint(key, str(meant))
        if key in known:
            return f"'{key}' belongs to another kind of entry"
        if near := difflib.get_close_matches(key, known, n=1):
            return f"did you mean '{near[0]}'?"
        value = self._document.find(self._yaml_path)
        alone = len(self._document.find(self._yaml_path[:-1])) == 1
        if alone and len(self._yaml_path) > 1 and isinstance(value, str) and 0 < len(value) <= _MAX_GOT:
            return f"write it without the space: {key}:{value}"
        return None

    def _meant_hint(self, key: str, meant: str) -> str:
        """Return a hint with the correct key, ready to copy if the value can stay the same."""
        value = self._document.find(self._yaml_path)
        if key in _PARTS or not isinstance(value, str):
            return f"write it in '{meant}', as in {KEY_EXAMPLES.get(meant, meant)}"
        if meant == "platforms":
            return f"write {meant}: [{value[:_MAX_GOT]}]"
        return f"write {meant}: {value[:_MAX_GOT]}"


def _moved(error: FormatError, where: str) -> FormatError:
    """Return `error` with its position in the file, shortened to about two lines of a terminal."""
    got = error.got
    if isinstance(got, str) and len(got) > _MAX_GOT:
        got = f"{got[:_MAX_GOT]}…"
    return FormatError(error.what, subject=where, want=error.want, got=got, hint=error.hint)
