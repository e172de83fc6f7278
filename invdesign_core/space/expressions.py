"""Formulas over design variables, such as ``2.1*resin + exp(-t/30)``: computed exactly, with gradients, and doubted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.constraint_grammar import Refusal, only_reading
from invdesign_core.space.variables import Variable

if TYPE_CHECKING:
    from lark import Token, Tree

Node = tuple[Any, ...]
"""``("number", 2.0)``, ``("column", 3)``, or an operation with the nodes that it is applied to."""
FUNCTIONS = {"exp": 1, "log": 1, "ln": 1, "log10": 1, "sqrt": 1, "abs": 1, "min": 0, "max": 0}
"""How many arguments each function has; 0 stands for two or more."""
CHAINED = ("+", "-", "*", "/", "min", "max")
"""Operations that follow each other, each applied to what those before it gave."""
_WHOLE = 8
"""Whole powers up to this one are products, exact and with a slope everywhere."""
_Range = tuple[float, float]


class Space(Protocol):
    """The design variables that formulas are about: the `Space` that stands above this module."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """In order."""


@dataclass(frozen=True)
class Expression:
    """A formula over encoded designs; `columns` are those that it looks at.

    `doubts` say where inside the bounds it has no value, as far as bounds can tell.
    """

    text: str
    node: Node
    columns: tuple[int, ...] = ()
    doubts: tuple[str, ...] = ()

    @classmethod
    def of_column(cls, name: str, column: int) -> Expression:
        """Return the formula that is a design variable itself."""
        return cls(name, ("column", column), (column,))

    def value(self, x: FloatArray) -> FloatArray:
        """Compute it for (n, e) designs, step by step as it is written; NaN where it has no value: (n,)."""
        with np.errstate(all="ignore"):
            found = np.asarray(_computed(self.node, x, np), dtype=np.float64)
        return np.where(np.isfinite(found), found, np.nan) + np.zeros(len(x))

    def trace(self, x: Any) -> Any:
        """Compute it in the backend's own operations, for (r, e) tensors: (r,)."""
        from keras import ops

        return _computed(self.node, x, ops) + 0.0 * x[:, 0]


@dataclass(frozen=True)
class Limit:
    """A constraint that is not linear: what a formula has to lie between."""

    expression: Expression
    lower: float = -np.inf
    upper: float = np.inf
    text: str = ""

    def holds(self, x: FloatArray) -> Any:
        """(n,) whether (n, e) designs satisfy it, computed as it is written; not where the formula has no value."""
        value = self.expression.value(x)
        return (value >= self.lower) & (value <= self.upper)


def parse_expression(
    text: str, space: Space, outputs: Sequence[str], place: str, before: Mapping[str, Expression] | None = None
) -> Expression:
    """Read a formula, in which formulas `before` it may stand by name; refuse by name what can't be computed.

    Raises
    ------
    ConfigError
        Naming the place, what was found and what was expected.
    """
    known = dict(before or {})
    columns = columns_of(space)
    try:
        if not isinstance(text, str):
            raise Refusal(f"found {text!r}, expected a formula as text", None, 'for example "2*a + b"')
        comparison = re.search(r"[<>≤≥=]", text)
        if comparison and not any(comparison[0] in name for name in (*columns, *known)):
            hint = "a limit goes into [design] constraints, or is a target"
            raise Refusal(f"found {comparison[0]!r}, expected a formula without a comparison", comparison.start(), hint)
        tree = only_reading(text, (*columns, *outputs, *known), "expression")
        return Formulas(columns, outputs, known).expression(text.strip(), tree)
    except Refusal as refusal:
        raise ConfigError(f"{place}: character {refusal.at + 1} of {text!r}: {refusal.message}", refusal.hint) from None


def columns_of(space: Space) -> dict[str, tuple[Variable, int]]:
    """Return each variable and its first encoded column, by name."""
    starts = accumulate((v.width for v in space.variables), initial=0)
    return {v.name: (v, start) for v, start in zip(space.variables, starts, strict=False)}


def number_of(variable: Variable, name: Token) -> None:
    """Refuse a variable that is no number."""
    wrong = hint = ""
    if variable.kind == "categorical":
        wrong, hint = "is categorical, expected a variable that is a number", "hold it at one level instead (fixed)"
    elif variable.kind == "binary" and tuple(variable.levels) != (0, 1):
        wrong = f"is {' and '.join(map(repr, variable.levels))}, expected a variable that is a number"
    if wrong:
        raise Refusal(f"{str(name)!r} {wrong}", name.start_pos, hint or None)


@dataclass(frozen=True)
class Formulas:
    """Turns what the grammar has found into formulas."""

    columns: Mapping[str, tuple[Variable, int]]
    outputs: Sequence[str]
    known: Mapping[str, Expression]

    def expression(self, text: str, *trees: Tree[Token]) -> Expression:
        """Return the formula of a tree, or the difference of two, which is called as the text is."""
        nodes = [self._node(tree) for tree in trees]
        node = nodes[0] if len(nodes) == 1 else ("-", *nodes)
        looked_at = sorted(set(_columns(node)))
        if not looked_at:
            raise Refusal("it holds no design variable", 0)
        doubts: list[str] = []
        for tree, each in zip(trees, nodes, strict=True):
            self._range(each, tree, doubts)
        return Expression(text, node, tuple(looked_at), tuple(dict.fromkeys(doubts)))

    def constant(self, tree: Tree[Token]) -> float | None:
        """Return the number that a part stands for; None where variables are in it."""
        node = self._node(tree)
        if any(True for _ in _columns(node)):
            return None
        with np.errstate(all="ignore"):
            return float(_computed(node, np.zeros((1, 1)), np))

    def _node(self, tree: Tree[Token]) -> Node:
        parts: list[Any] = tree.children
        match tree.data:
            case "number":
                if not math.isfinite(float(parts[0])):
                    raise Refusal(f"found {str(parts[0])[:20]!r}, a number that is too large", parts[0].start_pos)
                return ("number", float(parts[0]))
            case "quantity":
                wrong = f"found {str(parts[0])!r}, a number with a unit, expected a plain number"
                raise Refusal(wrong, parts[0].start_pos, "write it in the unit of the columns beside it")
            case "name":
                return self._named(parts[0])
            case "inner":
                return self._node(parts[1])
            case "negative":
                return ("neg", self._node(parts[1]))
            case "magnitude":
                return ("abs", self._node(parts[1]))
            case "power":
                return ("**", self._node(parts[0]), self._node(parts[2]))
            case "call":
                return self._call(parts)
        found = self._node(parts[0])
        signs = {"PLUS": "+", "MINUS": "-", "TIMES": "*", "OVER": "/"}
        for sign, part in zip(parts[1::2], parts[2::2], strict=True):
            found = (signs[sign.type], found, self._node(part))
        return found

    def _named(self, name: Token) -> Node:
        if str(name) in self.columns:
            variable, column = self.columns[str(name)]
            number_of(variable, name)
            return ("column", column)
        if str(name) in self.known:
            return self.known[str(name)].node
        hint = "for a limit on an output give it a target; a formula of outputs can be a column of the table"
        raise Refusal(f"{str(name)!r} is an output; formulas are of design variables", name.start_pos, hint)

    def _call(self, parts: Sequence[Any]) -> Node:
        name, arguments = str(parts[0]).strip().lower(), [self._node(part) for part in parts[1::2]]
        wanted = FUNCTIONS[name]
        if (wanted and len(arguments) != wanted) or (not wanted and len(arguments) < 2):
            count = "one argument" if wanted else "two arguments or more"
            raise Refusal(f"{name} has {len(arguments)}, expected {count}", parts[0].start_pos)
        if wanted:
            return ({"ln": "log"}.get(name, name), *arguments)
        found = arguments[0]
        for other in arguments[1:]:
            found = (name, found, other)
        return found

    def _range(self, node: Node, tree: Tree[Token], doubts: list[str]) -> _Range:
        """Return between which numbers a part lies inside the bounds, and note where it may have no value."""
        operation, *parts = node
        if operation == "number":
            return (float(parts[0]),) * 2
        if operation == "column":
            variable = next(v for v, column in self.columns.values() if column == parts[0])
            low, high = variable.bounds()
            return float(low[0]), float(high[0])
        first, chain = _spine(node)
        if chain:
            found = self._range(first, tree, doubts)
            for one, _, other in chain:
                ranges = [found, self._range(other, tree, doubts)]
                self._doubt(one, ranges, tree, doubts)
                found = _interval(one, ranges)
            return found
        ranges = [self._range(part, tree, doubts) for part in parts]
        self._doubt(operation, ranges, tree, doubts)
        return _interval(operation, ranges)

    def _doubt(self, operation: str, ranges: Sequence[_Range], tree: Tree[Token], doubts: list[str]) -> None:
        low, high = ranges[-1]
        at = next(tree.scan_values(lambda word: hasattr(word, "start_pos"))).start_pos
        if operation == "/" and low <= 0 <= high:
            what = "a denominator"
            never = low == high == 0
        elif operation in ("log", "log10") and low <= 0:
            what, never = "the argument of a logarithm", high <= 0
        elif operation == "sqrt" and low < 0:
            what, never = "the argument of a root", high < 0
        elif operation == "**" and ranges[0][0] <= 0 and not (low == high and _is_whole(low) and low > 0):
            if low == high and _is_whole(low) and ranges[0][1] < 0:
                return
            what, never = "the base of a power", ranges[0][1] < 0
        else:
            return
        zero = "0" if operation == "/" else "0 or less" if operation in ("log", "log10", "**") else "below 0"
        if never:
            raise Refusal(f"{what} is {zero} everywhere inside the bounds, so it never has a value", at)
        doubts.append(f"{what} may be {zero} inside the bounds")


def _is_whole(value: float) -> bool:
    return math.isfinite(value) and value == int(value)


def _columns(node: Node) -> Any:
    parts = [node]
    while parts:  # a long sum is as deep as it has terms
        operation, *inner = parts.pop()
        if operation == "column":
            yield inner[0]
        elif operation != "number":
            parts += inner


def _spine(node: Node) -> tuple[Node, list[Node]]:
    """Return the first term of a chain such as ``a + b - c``, and its operations, the innermost first."""
    chain: list[Node] = []
    while node[0] in CHAINED:
        chain.append(node)
        node = node[1]
    return node, chain[::-1]


def _computed(node: Node, x: Any, ops: Any) -> Any:
    """Compute a node with NumPy, or with the operations of Keras."""
    first, chain = _spine(node)
    found = _computed_alone(first, x, ops)
    for operation, _, other in chain:
        found = _applied(operation, found, _computed(other, x, ops), ops)
    return found


def _computed_alone(node: Node, x: Any, ops: Any) -> Any:
    """Compute a node that is no chain."""
    operation, *parts = node
    if operation == "number":
        return parts[0]
    if operation == "column":
        return x[:, parts[0]]
    if operation == "**" and parts[1][0] == "number" and 0 < parts[1][1] <= _WHOLE and _is_whole(parts[1][1]):
        base = _computed(parts[0], x, ops)
        return math.prod([base] * int(parts[1][1]))
    first, *others = (_computed(part, x, ops) for part in parts)
    match operation:
        case "neg":
            return -first
        case "**":
            return ops.power(first, others[0]) if ops is not np else np.power(np.float64(first), others[0])
    return getattr(ops, operation)(first if ops is np or hasattr(first, "shape") else ops.convert_to_tensor(first))


def _applied(operation: str, first: Any, other: Any, ops: Any) -> Any:
    """Compute one operation of a chain."""
    match operation:
        case "+":
            return first + other
        case "-":
            return first - other
        case "*":
            return first * other
        case "/":
            return first / (other if ops is not np else np.asarray(other, dtype=np.float64))
        case "min":
            return ops.minimum(first, other)
    return ops.maximum(first, other)


def _interval(operation: str, ranges: Sequence[_Range]) -> _Range:
    """Return between which numbers an operation lies, by interval arithmetic; what isn't known is anything."""
    (a, b), *others = ranges
    c, d = others[0] if others else (0.0, 0.0)
    with np.errstate(all="ignore"):
        match operation:
            case "+":
                ends = (a + c, b + d)
            case "-":
                ends = (a - d, b - c)
            case "neg":
                ends = (-b, -a)
            case "min":
                ends = (min(a, c), min(b, d))
            case "max":
                ends = (max(a, c), max(b, d))
            case "abs":
                ends = (0.0 if a <= 0 <= b else min(abs(a), abs(b)), max(abs(a), abs(b)))
            case "exp":
                ends = (float(np.exp(a)), float(np.exp(b)))
            case "sqrt":
                ends = (float(np.sqrt(max(a, 0.0))), float(np.sqrt(max(b, 0.0))))
            case "log" | "log10":
                f = getattr(np, operation)
                ends = (float(f(max(a, 0.0))), float(f(max(b, 0.0))))
            case "**" if c == d and _is_whole(c) and c > 0:
                corners = [float(np.power(a, c)), float(np.power(b, c))]
                ends = (0.0 if a <= 0 <= b and c % 2 == 0 else min(corners), max(corners))
            case "*":
                corners = [p * q for p in (a, b) for q in (c, d)]
                ends = (min(corners), max(corners)) if not any(map(math.isnan, corners)) else (-math.inf, math.inf)
            case "/" if c > 0 or d < 0:
                corners = [p / q for p in (a, b) for q in (c, d)]
                ends = (min(corners), max(corners))
            case "**" if a > 0:
                corners = [float(np.power(p, q)) for p in (a, b) for q in (c, d)]
                ends = (min(corners), max(corners))
            case _:
                ends = (-math.inf, math.inf)
    return (-math.inf, math.inf) if math.isnan(ends[0]) or math.isnan(ends[1]) else ends
