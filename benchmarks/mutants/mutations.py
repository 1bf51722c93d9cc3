"""Small faults that a test should see: one changed comparison, operator, constant, condition or statement each."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

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
class Mutant:
    """A changed source: where, the line before and after."""

    line: int
    before: str
    after: str
    source: bytes


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
        """All mutants below a node; annotations, error messages and strings stay as they are."""
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
                return
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.keyword(arg="strict"):
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


def mutants(source: bytes) -> list[Mutant]:
    """Every mutant of a Python file, in the order of the file."""
    found = _Finder(source).visit(ast.parse(source))
    return sorted({mutant.source: mutant for mutant in found}.values(), key=lambda mutant: mutant.line)
