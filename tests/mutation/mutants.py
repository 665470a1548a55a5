"""Makes the mutants of a module: copies of its code with one decision changed in one function.

A check is removed, a condition is forced or negated, a bound is moved by one, an argument, a key of a document, an
exception that is handled, or a case of a match is left out. Texts for people are left alone: f-strings, strings with
a space, and all of `raise` and of the making of an error. What runs at import is not mutated.
"""

import ast
import gc
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_SWAPPED: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "lower": "upper", "casefold": "upper"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NEVER, _ALWAYS = ast.Constant(value=False), ast.Constant(value=True)
_MAX_WORDS = 90
"""Characters of a piece of code in the name of a mutant."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`name` says what is changed, without line numbers: it stays the same when other lines come and go."""

    name: str
    lines: range
    """The statement that has to be executed for the mutant to make a difference."""
    code: CodeType

    def install(self, module: ModuleType) -> bool:
        """Put the code into the living function, and into the functions that it has made already, as when the
        tests were collected. False if Python cannot, because a closure differs.
        """
        function = next(
            f for f in _functions(module) if f.__code__.co_firstlineno == self.code.co_firstlineno
        )
        if function.__code__.co_freevars != self.code.co_freevars:
            return False
        old, new = list(_codes(function.__code__)), list(_codes(self.code))
        function.__code__ = self.code
        if old and len(old) == len(new):
            for made in [
                made for made in gc.get_objects() if inspect.isfunction(made) and made.__code__ in old
            ]:
                code = new[old.index(made.__code__)]
                if code.co_freevars == made.__code__.co_freevars:
                    made.__code__ = code
        return True


def mutants_of(module: ModuleType) -> Iterator[Mutant]:
    path = Path(module.__file__ or "")
    tree = ast.parse(path.read_text("utf-8"))
    names = {function.__code__.co_firstlineno: function.__qualname__ for function in _functions(module)}
    nodes = [node for holder in (tree, *tree.body) for node in getattr(holder, "body", ())]
    for node in (node for node in nodes if isinstance(node, _FUNCTIONS)):
        line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        seen: dict[str, int] = {}
        for change in _changes(node, node) if line in names else ():  # not an overload
            change.put(change.new)
            code = next(
                code for code in _codes(compile(tree, str(path), "exec")) if code.co_firstlineno == line
            )
            change.put(change.old)
            seen[change.words] = seen.get(change.words, 0) + 1
            name = f"{names[line]}: {change.words}" + f" #{seen[change.words]}" * (seen[change.words] > 1)
            yield Mutant(name, _lines(change.statement), code)


def _functions(module: ModuleType) -> Iterator[Any]:
    """Yield the functions and methods of the module, without their decorators."""
    classes = [
        cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__
    ]
    for value in [value for holder in (module, *classes) for value in vars(holder).values()]:
        wrapper = getattr(value, "fget", None) or getattr(value, "func", None) or value
        function = inspect.unwrap(getattr(wrapper, "__func__", wrapper))
        if inspect.isfunction(function) and function.__code__.co_filename == module.__file__:
            yield function


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if not inner.co_name.startswith("<"):
                yield inner
            yield from _codes(inner)


def _lines(statement: ast.stmt) -> range:
    end = statement.end_lineno or statement.lineno
    if body := getattr(statement, "body", None):
        end = max(statement.lineno, body[0].lineno - 1)
    return range(statement.lineno, end + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    statement: ast.stmt
    holder: Any
    key: Any
    old: ast.AST
    new: ast.AST
    words: str

    def put(self, node: ast.AST) -> None:
        if isinstance(self.holder, list):
            self.holder[self.key] = node
        else:
            setattr(self.holder, self.key, node)


def _changes(node: ast.AST, statement: ast.stmt) -> Iterator[_Change]:
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "args"} and isinstance(
            node, (*_FUNCTIONS, ast.AnnAssign)
        ):
            continue
        holder = value if isinstance(value, list) else node
        for key, child in enumerate(value) if isinstance(value, list) else [(field, value)]:
            if not isinstance(child, ast.AST):
                continue
            inside = child if isinstance(child, ast.stmt) else statement
            for new, words in _replacements(child, field):
                yield _Change(
                    statement=inside, holder=holder, key=key, old=child, new=_located(new, child), words=words
                )
            if not _is_for_people(child):
                yield from _changes(child, inside)


def _located(new: ast.AST, old: ast.AST) -> ast.AST:
    if "lineno" in old._attributes:
        ast.copy_location(new, old)
    return ast.fix_missing_locations(new)


def _is_for_people(node: ast.AST) -> bool:
    makes_error = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Error", "cast"))
    return makes_error or isinstance(node, (ast.Raise, ast.JoinedStr, ast.Assert))


def _words(node: ast.AST) -> str:
    return "`" + " ".join(ast.unparse(node).split("\n")[0].split())[:_MAX_WORDS] + "`"


_Replacements = Iterator[tuple[ast.AST, str]]


def _replacements(node: ast.AST, field: str) -> _Replacements:
    """Yield what stands instead of the node, with the words for it."""
    yield from _statements(node)
    yield from _values(node)
    yield from _parts(node)
    yield from _operators(node)
    if field == "test" and not isinstance(node, ast.Constant):
        yield _NEVER, f"{_words(node)} is never true"
        yield _ALWAYS, f"{_words(node)} is always true"


def _statements(node: ast.AST) -> _Replacements:
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Raise() | ast.Expr() | ast.AugAssign() | ast.Delete():
            yield ast.Pass(), f"no {_words(node)}"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass(), f"no {_words(node)}"
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) not in {"None", "False"}:
            yield ast.Return(ast.Constant(None)), f"{_words(node)} returns None"
        case ast.For():
            yield (
                ast.For(node.target, ast.Tuple([], ast.Load()), node.body, node.orelse),
                f"{_words(node)} over nothing",
            )
        case ast.Break() | ast.Continue():
            yield _SWAPPED[type(node)](), f"{_words(node)} is the other"


def _values(node: ast.AST) -> _Replacements:
    match node:
        case ast.Constant(value=bool() as flag):
            yield ast.Constant(not flag), f"{flag} is {not flag}"
        case ast.Constant(value=int() as number):
            yield ast.Constant(number + 1), f"{number} is {number + 1}"
        case ast.Constant(value=str() as text) if " " not in text:
            yield ast.Constant("XX" + text), f"another text for {text!r}"
        case ast.Constant(value=bytes() as text):
            yield ast.Constant(b"XX" + text), f"another text for {text!r}"


def _parts(node: ast.AST) -> _Replacements:
    """Leave out what stands in a row with others, one at a time."""
    match node:
        case ast.comprehension(ifs=[condition, *_]):
            yield (
                ast.comprehension(node.target, node.iter, [], node.is_async),
                f"no filter {_words(condition)}",
            )
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            for kind in kinds:
                others = ast.Tuple([other for other in kinds if other is not kind], ast.Load())
                yield ast.ExceptHandler(others, node.name, node.body), f"no except {ast.unparse(kind)}"
        case ast.ExceptHandler(type=ast.expr()):
            yield ast.ExceptHandler(ast.Tuple([], ast.Load()), node.name, node.body), f"no {_words(node)}"
        case ast.match_case(guard=ast.expr() as guard):
            yield ast.match_case(node.pattern, None, node.body), f"no guard {_words(guard)}"
        case ast.match_case(pattern=pattern) if ast.unparse(pattern) != "_":
            yield ast.match_case(pattern, _NEVER, node.body), f"no {_words(node)}"
        case ast.Call(keywords=keywords) if not _is_for_people(node):
            for keyword in keywords:
                kept = [other for other in keywords if other is not keyword]
                yield ast.Call(node.func, node.args, kept), f"{_words(node)} without {keyword.arg}"
        case ast.Slice(lower=lower, upper=upper, step=step):
            if lower:
                yield ast.Slice(None, upper, step), f"[{ast.unparse(node)}] without lower end"
            if upper:
                yield ast.Slice(lower, None, step), f"[{ast.unparse(node)}] without upper end"
        case ast.Set(elts=[_, _, *_] as elements):
            for element in elements:
                rest = [other for other in elements if other is not element]
                yield ast.Set(rest), f"{_words(node)} without {ast.unparse(element)}"


def _operators(node: ast.AST) -> _Replacements:
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand, f"{_words(node)} without not"
        case ast.BoolOp(op=op, values=values):
            other_op = _SWAPPED[type(op)]
            yield ast.BoolOp(other_op(), values), f"{_words(node)} with {other_op.__name__.lower()}"
            for value in values:
                rest = [other for other in values if other is not value]
                yield (
                    rest[0] if len(rest) == 1 else ast.BoolOp(op, rest),
                    f"{_words(node)} without {_words(value)}",
                )
        case ast.Compare(ops=ops):
            for index, comparison in enumerate(ops):
                changed = [*ops[:index], _SWAPPED[type(comparison)](), *ops[index + 1 :]]
                words = f"{_words(node)} with {type(changed[index]).__name__}"
                yield ast.Compare(node.left, changed, node.comparators), words
        case ast.BinOp(op=op) if type(op) in _SWAPPED:
            other_op = _SWAPPED[type(op)]
            yield ast.BinOp(node.left, other_op(), node.right), f"{_words(node)} with {other_op.__name__}"
        case ast.Call(func=ast.Name(id=name)) if other := _NAMES.get(name):
            yield (
                ast.Call(ast.Name(other, ast.Load()), node.args, node.keywords),
                f"{_words(node)} with {other}",
            )
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if other := _NAMES.get(name):
            method = ast.Attribute(value, other, ast.Load())
            yield ast.Call(method, node.args, node.keywords), f"{_words(node)} with {other}"
