"""What a Google-style docstring must say, read from the source of a function or class."""

import ast
import inspect
import re
import sys
from functools import cache
from pathlib import Path

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Examples?|Notes?):\s*$")
ENTRY = re.compile(r"^ {4}(\*{0,2}[\w., *]+?)(?: \([^)]*\))?:")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sections(docstring: str) -> dict[str, list[str]]:
    """Section name to the names it describes (for Returns and Examples: the lines)."""
    found: dict[str, list[str]] = {}
    here = None
    for line in docstring.splitlines():
        if heading := SECTION.match(line):
            here = heading[1]
            found[here] = []
        elif line and not line.startswith(" "):
            here = None
        elif here in {"Args", "Attributes", "Raises"}:
            if entry := ENTRY.match(line):
                found[here] += [name.strip().lstrip("*") for name in entry[1].split(",")]
        elif here is not None and line.strip():
            found[here].append(line.strip())
    return found


def faults(name: str, value: object) -> list[str]:
    """What the docstring of a public function or class lacks, one sentence each."""
    node = definition(value)
    if isinstance(node, ast.ClassDef):
        return class_faults(name, node)
    if node is None or not callable(value):
        return []
    return function_faults(name, node, inspect.getdoc(value) or "", list(inspect.signature(value).parameters))


def function_faults(name: str, node: Function, text: str, names: list[str]) -> list[str]:
    """Args for every parameter, Returns where there is a value, Raises for what the body raises by name."""
    if not text:
        return [f"{name}: no docstring"]
    said = sections(text)
    missing = [a for a in names if a not in {"self", "cls", *said.get("Args", ())}]
    wrong = [f"{name}: Args lacks {', '.join(missing)}"] if missing else []
    if extra := [a for a in said.get("Args", ()) if a not in names]:
        wrong.append(f"{name}: Args names {', '.join(extra)}, which it does not take")
    returned = node.returns is not None and ast.unparse(node.returns) not in {"None", "NoReturn"}
    if returned and not {"Returns", "Yields"} & set(said):
        wrong.append(f"{name}: no Returns")
    if unsaid := raised(node) - set(said.get("Raises", ())):
        wrong.append(f"{name}: Raises lacks {', '.join(sorted(unsaid))}")
    return wrong


def class_faults(name: str, node: ast.ClassDef) -> list[str]:
    """A docstring for the class and each public method; Args for what a written `__init__` takes."""
    text = ast.get_docstring(node)
    if not text:
        return [f"{name}: no docstring"]
    wrong = []
    said = sections(text)
    inherits = bool(node.bases)
    for item in node.body:
        if not isinstance(item, Function):
            continue
        if item.name == "__init__":
            names = [a.arg for a in (*item.args.args[1:], *item.args.kwonlyargs)]
            described = {*said.get("Args", ()), *said.get("Attributes", ())}
            described |= set(sections(ast.get_docstring(item) or "").get("Args", ()))
            if missing := [a for a in names if a not in described]:
                wrong.append(f"{name}: Args lacks {', '.join(missing)}")
        elif not item.name.startswith(("_", "test_")) and not ast.get_docstring(item) and not inherits:
            wrong.append(f"{name}.{item.name}: no docstring")
    return wrong


def raised(node: Function) -> set[str]:
    """The exceptions that a function raises itself, by name."""
    found = set()
    stack: list[ast.AST] = list(node.body)
    while stack:
        item = stack.pop()
        if isinstance(item, Function | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(item, ast.Raise) and item.exc is not None:
            call = item.exc.func if isinstance(item.exc, ast.Call) else item.exc
            name = ast.unparse(call).rpartition(".")[2]
            if name[:1].isupper():
                found.add(name)
        stack += ast.iter_child_nodes(item)
    return found - {"NotImplementedError", "AssertionError"}


def definition(value: object) -> Function | ast.ClassDef | None:
    """Where a function or class is written; None for other values and for those of other packages."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return None
    value = inspect.unwrap(value) if inspect.isroutine(value) else value
    module = sys.modules.get(getattr(value, "__module__", ""))
    file = getattr(module, "__file__", None)
    if file is None or not module.__name__.startswith("inoc"):
        return None
    found: ast.AST = _tree(Path(file))
    for part in value.__qualname__.split("."):
        inside = [
            item
            for item in getattr(found, "body", [])
            if isinstance(item, Function | ast.ClassDef) and item.name == part
        ]
        if not inside:
            return None
        found = inside[-1]
    return found if isinstance(found, Function | ast.ClassDef) else None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
