"""Who imports whom, read from the source: every module of a package, every import wherever it stands."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One import of a module of the package by another."""

    source: str
    target: str
    line: int
    typing_only: bool


def modules(root: Path) -> dict[str, Path]:
    """Every module under the package folder `root`, by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> list[Import]:
    """Every import of one module of the package by another, at the top, in functions, or for types only."""
    known = modules(root)
    found = []
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node, typing_only in _walk(tree, False):
            for target in _targets(node, package):
                module = _longest(target, known)
                if module is not None and module != name:
                    found.append(Import(name, module, node.lineno, typing_only))
    return found


def _walk(node: ast.AST, typing_only: bool) -> Iterator[tuple[ast.stmt | ast.Call, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom | ast.Call):
            yield child, typing_only
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.body:
                yield from _walk(ast.Module([part], []), True)
            for part in child.orelse:
                yield from _walk(ast.Module([part], []), typing_only)
        else:
            yield from _walk(child, typing_only)


def _targets(node: ast.stmt | ast.Call, package: str) -> Iterator[str]:
    """Dotted names that a statement imports; those of `from` with the name they take."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        stem = ".".join([*base, *([node.module] if node.module else [])])
        yield from (f"{stem}.{alias.name}" for alias in node.names)
    elif ast.unparse(node.func).endswith("import_module"):
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def _longest(target: str, known: Iterable[str]) -> str | None:
    """The module that a dotted name is, or is an attribute of."""
    while target not in known:
        target, dot, _ = target.rpartition(".")
        if not dot:
            return None
    return target


def cycles(edges: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The strongly connected groups of more than one name, each sorted (Tarjan)."""
    graph: dict[str, set[str]] = {}
    for source, target in edges:
        graph.setdefault(source, set()).add(target)
        graph.setdefault(target, set())
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(tuple(sorted(group)))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def rooms_of(names: Iterable[str]) -> set[str]:
    """The packages and modules directly under the package."""
    return {name.split(".")[1] for name in names if "." in name}


def forbidden(found: Iterable[Import], arrows: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for every import without an arrow.

    Args:
        found: The imports.
        arrows: Room, or dotted part of a room, to those it may import. A part's own line replaces its room's.
    """
    wrong = []
    for item in found:
        source, target = (name.partition(".")[2] or name for name in (item.source, item.target))
        room = max((name for name in arrows if _inside(source, name)), key=len, default="")
        if not any(_inside(target, name) for name in (room, *arrows.get(room, ())) if name):
            wrong.append(f"{item.source}:{item.line} imports {item.target}; no arrow {room} -> {target}")
    return wrong


def unused(found: Iterable[Import], arrows: Mapping[str, Sequence[str]]) -> list[str]:
    """The arrows that no import needs."""
    pairs = {tuple(name.partition(".")[2] or name for name in (item.source, item.target)) for item in found}
    return [
        f"{room} -> {target}"
        for room, targets in arrows.items()
        for target in targets
        if not any(_inside(a, room) and _inside(b, target) for a, b in pairs)
    ]


def _inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")
