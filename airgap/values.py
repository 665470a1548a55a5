"""Frozen data classes whose methods are compiled only when they are used.

`dataclasses.dataclass` compiles six methods of each frozen class, which takes half a millisecond. A command
imports a hundred such classes and makes values of half of them: this was a third of the time in which
`airgap verify` starts. `dataclass` here is the same decorator, as type checkers see it. Classes that are not
frozen, or that have other settings, are those of `dataclasses`. `InitVar` is not supported.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False, **further: bool
    ) -> Callable[[type], type]:
        """Return a decorator for a class of values, or that of `dataclasses` if it is not frozen."""
        if further or not (frozen and slots):
            return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only, **further)
        return lambda cls: _with_methods(
            dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
        )


__all__ = ["dataclass"]

_COMPARING = ("__eq__", "__hash__", "__repr__")
_MANY = 50
"""The number of values after which a class gets a compiled `__init__`, which takes half the time of ours."""


def _with_methods(cls: type) -> type:
    methods: dict[str, Callable[..., Any]] = {name: _compiled_later(cls, name) for name in _COMPARING}
    methods |= {"__setattr__": _refuse_change, "__delattr__": _refuse_change, "__setstate__": _set_state}
    methods["__init__"] = _first_init(cls)
    for name, method in methods.items():
        if vars(cls).get(name) is None:  # `__hash__` is None in a class with its own `__eq__`
            setattr(cls, name, method)
    return cls


def _first_init(cls: type) -> Callable[..., None]:
    """Return an `__init__` for the first values, which needs no compiling.

    The compiled one takes its place when there are many values, or when the arguments do not fit: its errors
    are those that programmers know.
    """
    fields = dataclasses.fields(cls)
    positions = [field.name for field in fields if not field.kw_only]
    defaults = {field.name: field for field in fields if _has_default(field)}
    names = {field.name for field in fields}
    required = names - defaults.keys()
    values = itertools.count(1)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        given = dict(zip(positions, args, strict=False)) | kwargs
        fits = len(given) == len(args) + len(kwargs) and required <= given.keys() <= names
        if not fits or next(values) > _MANY:
            compiled = vars(_compiled(cls, init=True))["__init__"]
            setattr(cls, "__init__", compiled)  # noqa: B010 - mypy refuses the assignment
            compiled(self, *args, **kwargs)
            return
        for field in fields:
            name = field.name
            object.__setattr__(self, name, given[name] if name in given else _default(field))
        if hasattr(cls, "__post_init__"):
            self.__post_init__()

    return __init__


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _compiled_later(cls: type, name: str) -> Callable[..., Any]:
    """Return a method that replaces itself by the compiled one when it is called."""

    def method(self: object, *args: Any) -> Any:
        compiled = vars(_compiled(cls, init=False))[name]
        setattr(cls, name, compiled)
        return compiled(self, *args)

    return method


def _compiled(cls: type, *, init: bool) -> type:
    """Return a class whose methods `dataclasses` has compiled for the fields of `cls`.

    Args:
        cls: The class.
        init: `__init__` is wanted, otherwise the methods for comparing and showing.
    """
    fields = [(field.name, Any, _copied(field)) for field in dataclasses.fields(cls)]
    if not init:
        return dataclasses.make_dataclass(cls.__name__, fields, init=False, unsafe_hash=True)
    after = {name: getattr(cls, name) for name in ("__post_init__",) if hasattr(cls, name)}
    # Only the `__init__` of a frozen class passes by `__setattr__`.
    return dataclasses.make_dataclass(
        cls.__name__, fields, namespace=after, frozen=True, repr=False, eq=False
    )


def _copied(field: "dataclasses.Field[Any]") -> Any:
    return dataclasses.field(
        default=field.default, default_factory=field.default_factory, init=field.init, repr=field.repr,
        hash=field.hash, compare=field.compare, kw_only=field.kw_only,
    )  # fmt: skip


def _refuse_change(_self: object, name: str, *_: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")


def _set_state(self: object, state: tuple[None, dict[str, Any]]) -> None:
    """Set the fields of a copy."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)
