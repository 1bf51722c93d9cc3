"""Small faults that a test should see: one changed comparison, operator, constant, condition or statement each."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CALCULATED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
DROPPED = (ast.AugAssign, ast.Break, ast.Continue, ast.Delete)
LEAVES = (ast.Raise, ast.Return, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Place:
    """What a line belongs to: the function or class by its qualified name, the lines to run to notice a change there,
    the outermost function whose code holds it, as (qualified name, first line), and the lines of its body; no function:
    it runs at import."""

    name: str
    lines: range
    function: tuple[str, int] | None = None
    body: range = range(0)


@dataclass(frozen=True)
class Mutant:
    """A changed source: where, the line before and after."""

    line: int
    before: str
    after: str
    source: bytes
    place: Place = Place("", range(0))


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.source, self.lines = source, source.splitlines(keepends=True)

    def at(self, line: int, column: int) -> int:
        return sum(len(one) for one in self.lines[: line - 1]) + column

    def mutant(self, node: ast.expr | ast.stmt, text: str) -> Mutant:
        """The source with `text` instead of the node."""
        start, stop = self.at(node.lineno, node.col_offset), self.at(node.end_lineno or 0, node.end_col_offset or 0)
        changed = self.source[:start] + text.encode() + self.source[stop:]
        return Mutant(node.lineno, _line(self.source, start, stop), _line(changed, start, start + len(text)), changed)

    def expressions(self, node: ast.expr) -> Iterator[str]:
        """The texts that replace an expression."""
        match node:
            case ast.Compare(ops=[operator, *_]) if type(operator) in COMPARED:
                yield ast.unparse(ast.Compare(node.left, [COMPARED[type(operator)](), *node.ops[1:]], node.comparators))
            case ast.BinOp(op=operator) if type(operator) in CALCULATED:
                yield ast.unparse(ast.BinOp(node.left, CALCULATED[type(operator)](), node.right))
            case ast.BoolOp(op=operator):
                other = ast.Or() if isinstance(operator, ast.And) else ast.And()
                yield ast.unparse(ast.BoolOp(other, node.values))
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
                yield ast.unparse(node.operand)
            case ast.IfExp():
                yield ast.unparse(node.body)
                yield ast.unparse(node.orelse)
            case ast.Constant(value=bool(value)):
                yield str(not value)
            case ast.Constant(value=int(value) | float(value)):
                yield repr(value + 1 if isinstance(value, int) or value == 0 else value * 2)
            case _:
                return

    def visit(self, node: ast.AST) -> Iterator[Mutant]:
        """All mutants below a node. Annotations, error messages, strings and what pyright checks stay as they are."""
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
                return
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.keyword(arg="strict" | "frozen" | "slots"):
                return
            case ast.If(body=[last], orelse=[]) if isinstance(last, LEAVES):
                yield self.mutant(node, "pass")
            case ast.If() | ast.While():
                yield self.mutant(node.test, f"not ({ast.unparse(node.test)})")
            case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Break() | ast.Continue() | ast.Delete():
                yield self.mutant(node, "pass")
            case ast.expr():
                for text in self.expressions(node):
                    yield self.mutant(node, f"({text})")
            case _:
                pass
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.visit(child)


def _line(source: bytes, start: int, stop: int) -> str:
    """The lines that hold a range, as one line of text."""
    first, last = source.rfind(b"\n", 0, start) + 1, source.find(b"\n", stop)
    return " ".join(source[first : last if last >= 0 else None].decode().split())


def places(source: bytes) -> dict[int, Place]:
    """The place of every line of a Python file."""
    tree = ast.parse(source)
    found: dict[int, Place] = {}

    def visit(block: list[ast.stmt], name: str, whole: range, outer: tuple[tuple[str, int] | None, range]) -> None:
        for node in block:
            stop = (node.end_lineno or node.lineno) + 1
            inner = [part for part in ast.walk(node) if part is not node and isinstance(part, ast.stmt)]
            header = range(node.lineno, min((part.lineno for part in inner), default=stop))
            start = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            if isinstance(node, ast.FunctionDef):
                body = range(node.body[0].lineno, stop)
                found.update({line: Place(name + node.name, body, *outer) for line in range(start, stop)})
                within = outer if outer[0] else ((name + node.name, start), body)
                visit(node.body, f"{name}{node.name}.<locals>.", body, within)
            elif isinstance(node, ast.ClassDef):
                found.update(
                    {
                        line: Place(name + node.name, range(node.lineno, stop), *outer)
                        for line in range(start, header.stop)
                    }
                )
                visit(node.body, f"{name}{node.name}.", range(node.lineno, stop), outer)
            else:
                of = name.removesuffix(".").removesuffix(".<locals>")
                for line in range(node.lineno, stop):
                    own = header if line in header else range(line, line + 1)
                    found[line] = Place(of, own if outer[0] else whole, *outer)
                for held in _blocks(node):
                    visit(held, name, whole, outer)

    visit(tree.body, "", range(1, source.count(b"\n") + 2), (None, range(0)))
    return found


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The lists of statements that a statement holds."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, ast.ExceptHandler | ast.match_case):
                    yield part.body


def mutants(source: bytes) -> list[Mutant]:
    """Every mutant of a Python file, in the order of the file; equal ones of one function are numbered."""
    of, seen = places(source), Counter()
    found = {mutant.source: mutant for mutant in _Finder(source).visit(ast.parse(source))}
    numbered: list[Mutant] = []
    for mutant in sorted(found.values(), key=lambda mutant: mutant.line):
        place = of[mutant.line]
        seen[place.name, mutant.before, mutant.after] += 1
        number = seen[place.name, mutant.before, mutant.after]
        numbered.append(replace(mutant, place=replace(place, name=place.name + (f" #{number}" if number > 1 else ""))))
    return numbered
