"""Bad inputs from seeds: every command, every kind of file, spoiled by bytes and by values."""

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .world import import_arguments

HOSTILE: tuple[object, ...] = (
    None, True, [], {}, "", " ", "\x00",
    "\x1b[2J\x1b[31m", "\ud800", "a" * 300, "../../victim", "/etc/passwd", "/dev/zero",
    "$(touch x)", "[/]", "[bold]", "{x}", "%s%n", "$a_$", "\\frac{", "\u202egnp", "\u0663", "e\u0301", "nan", "NaN",
    "-inf", "1e999",
    -1, 0, 1, 2**31, 2**63, 10**25, -(10**25), 1e308, -1e308, 1e-320, 1e30, -1e30, 0.1, float("nan"), float("inf"),
    [[[[[[]]]]]], [None] * 50, {"a": {"b": {"c": 1}}}, ["x", 1, None], "neutral", "zarr.json", ".staged", "con",
    "a/b", "a\nb",
    "9" * 5000, "\U0001f600", "__class__", "'; DROP TABLE x", "<script>alert(1)</script>", "=1+1",
)  # fmt: skip
BYTES = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b", b"\r", b"\t", b"!!binary x", b"&a [*a]", b"*a", b"<<: *b", b"? [",
    b"{", b"}",
    b"[" * 200,
    b'"', b"'", b": ", b"- ", b"#", b"---\n", b"...\n", b"NaN", b"Infinity", b"-", b"1e999", b",,", b"\\ud800",
    b"\\u0000",
    b"9" * 5000, b"\xed\xa0\x80", b"\n\n", b"%YAML 9.9\n", b"!!python/object/apply:os.system [ls]",
)  # fmt: skip
STUDY_COMMANDS = ("check", "score", "elicit", "train", "evaluate", "describe", "run", "generate", "rephrase", "judge",
                  "prefill")  # fmt: skip
STORE_COMMANDS = ("info", "validate", "heuristics", "outcomes", "predict", "report", "figures", "recommend", "answers",
                  "emergence")  # fmt: skip
IMPORTED = ("logprobs", "prompts", "elicitation", "scores", "losses")


@dataclass(frozen=True)
class Case:
    """A command line, after `folder` was spoiled; `kind` groups the table."""

    kind: str
    arguments: tuple[str, ...]
    what: str


def case(seed: int, folder: Path) -> Case:
    """Spoil the folder by a seed and say which command is then run.

    Args:
        seed: The case; equal seeds spoil equally.
        folder: A fresh world (see `world.py`).
    """
    rng = random.Random(seed)
    kinds: tuple[tuple[Callable[[random.Random, Path], Case], int], ...] = (
        (_study_values, 5), (_study_bytes, 4), (_data, 4), (_import_values, 5), (_import_bytes, 3), (_table, 2),
        (_options, 6), (_labels, 2), (_prefills, 2), (_store, 4),
    )  # fmt: skip
    (chosen,) = rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
    return chosen(rng, folder)


def spoil_bytes(rng: random.Random, path: Path) -> str:
    """Change a file as bytes; says how."""
    data = path.read_bytes()
    at = rng.randrange(len(data) + 1)
    match rng.randrange(5):
        case 0:
            path.write_bytes(data[:at])
            return f"{path.name} cut at {at}"
        case 1:
            end = min(len(data), at + rng.randrange(1, 40))
            path.write_bytes(data[:at] + data[end:])
            return f"{path.name} without [{at}, {end})"
        case 2:
            flipped = bytearray(data or b" ")
            flipped[at % len(flipped)] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(flipped))
            return f"{path.name} with a flipped bit at {at}"
        case 3:
            start = rng.randrange(len(data) + 1)
            path.write_bytes(data[:at] + data[start : start + 60] + data[at:])
            return f"{path.name} with a repeated part at {at}"
        case _:
            extra = rng.choice(BYTES)
            path.write_bytes(data[:at] + extra + data[at:])
            return f"{path.name} with {extra[:20]!r} at {at}"


def spoil_value(rng: random.Random, value: object) -> tuple[object, str]:
    """A JSON value with one member replaced, removed, renamed or added; says which."""
    places: list[tuple[dict[str, object] | list[object], str | int]] = []

    def walk(node: object) -> None:
        members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in list(members)[:12]:
            places.append((node, key))  # type: ignore[arg-type]
            walk(inner)

    walk(value)
    if not places or rng.random() < 0.03:
        chosen = rng.choice(HOSTILE)
        return chosen, f"whole value {chosen!r:.40}"
    node, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del node[key]  # type: ignore[arg-type]
            return value, f"without {key!r}"
        case 1 if isinstance(node, dict):
            name = str(rng.choice([h for h in HOSTILE if isinstance(h, str)]))
            node[name] = node.pop(key)  # type: ignore[arg-type]
            return value, f"{key!r} renamed {name!r:.40}"
        case 2 if isinstance(node, list):
            node.insert(int(key), rng.choice(HOSTILE))
            return value, f"one more at {key}"
        case 3:
            node[key] = [node[key]]  # type: ignore[index]
            return value, f"{key!r} in a list"
        case _:
            new = rng.choice(HOSTILE)
            node[key] = new  # type: ignore[index]
            return value, f"{key!r} = {new!r:.40}"


def _study_command(rng: random.Random, folder: Path, kind: str, what: str) -> Case:
    command = rng.choice(("check", *STUDY_COMMANDS))
    arguments = [command, str(folder / "study.yaml")]
    if command != "check":
        arguments.append("--dry-run")
    if command not in ("check", "rephrase"):
        arguments.append(f"--store={folder / 'new.zarr'}")
    return Case(kind, tuple(arguments), what)


def _study_values(rng: random.Random, folder: Path) -> Case:
    path, what = folder / "study.yaml", ""
    value: object = json.loads(path.read_text())
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value, said = spoil_value(rng, value)
        what += f"{said}; "
    path.write_text(json.dumps(value))
    return _study_command(rng, folder, "study, values", what)


def _study_bytes(rng: random.Random, folder: Path) -> Case:
    return _study_command(rng, folder, "study, bytes", spoil_bytes(rng, folder / "study.yaml"))


def _data(rng: random.Random, folder: Path) -> Case:
    path = folder / rng.choice(("train.jsonl", "questions.jsonl", "pools/say_a.jsonl", "pools/sky.jsonl"))
    if rng.random() < 0.5:
        what = spoil_bytes(rng, path)
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows, what = spoil_value(rng, rows)  # type: ignore[assignment]
        listed = rows if isinstance(rows, list) else [rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in listed))
        what = f"{path.name}: {what}"
    return _study_command(rng, folder, "texts", what)


def _import(folder: Path, kind: str, what: str, rng: random.Random) -> Case:
    arguments = import_arguments(folder, folder / "new.zarr")
    if rng.random() < 0.25:
        arguments[1] = str(folder / "import" / "tokens.jsonl")
    return Case(kind, tuple(arguments), what)


def _import_values(rng: random.Random, folder: Path) -> Case:
    path = folder / "import" / f"{rng.choice(IMPORTED)}.json"
    value, what = spoil_value(rng, json.loads(path.read_text()))
    path.write_text(json.dumps(value))
    return _import(folder, "import, values", f"{path.name}: {what}", rng)


def _import_bytes(rng: random.Random, folder: Path) -> Case:
    names = [f"{name}.json" for name in IMPORTED] + ["tokens.jsonl", "pools/de0.jsonl"]
    what = spoil_bytes(rng, folder / "import" / rng.choice(names))
    return _import(folder, "import, bytes", what, rng)


def _table(rng: random.Random, folder: Path) -> Case:
    path = folder / "rows.csv"
    if rng.random() < 0.5:
        what = spoil_bytes(rng, path)
    else:
        cells = list(csv.reader(path.read_text().splitlines()))
        row = rng.choice(cells)
        at, new = rng.randrange(len(row)), str(rng.choice(HOSTILE))
        what, row[at] = f"{row[at]!r} = {new!r:.40}", new
        out = io.StringIO()
        csv.writer(out).writerows(cells)
        path.write_text(out.getvalue(), encoding="utf-8", errors="surrogatepass")
    return Case("results table", ("outcomes", f"--table={path}"), what)


def _spoiled_lines(rng: random.Random, path: Path) -> str:
    """Spoil a file of JSON lines, as bytes or by values."""
    if rng.random() < 0.5:
        return spoil_bytes(rng, path)
    rows, what = spoil_value(rng, [json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows])))
    return f"{path.name}: {what}"


def _labels(rng: random.Random, folder: Path) -> Case:
    """Labels of people, compared with the study's judges."""
    what = _spoiled_lines(rng, folder / "labels.jsonl")
    line = ("judge", str(folder / "study.yaml"), f"--store={folder / 'new.zarr'}",
            f"--agreement={folder / 'labels.jsonl'}")  # fmt: skip
    return Case("labels", line, what)


def _prefills(rng: random.Random, folder: Path) -> Case:
    """Counts after prefills, imported by themselves or added to the good store."""
    what = _spoiled_lines(rng, folder / "import" / "prefills.jsonl")
    place = "new.zarr" if rng.random() < 0.5 else "good.zarr"
    line = ["import", f"--prefills={folder / 'import' / 'prefills.jsonl'}", "--prefills-from=file",
            f"--store={folder / place}"]  # fmt: skip
    return Case("prefill counts", (*line, *(["--append"] if place == "good.zarr" else [])), what)


def _on(command: str, store: str, folder: Path) -> list[str]:
    """A command that reads a store."""
    more = {
        "figures": [f"--out={folder / 'new'}", "--only=spectrum_svd"],
        "report": [f"--output={folder / 'new.html'}"],
    }
    return [command, f"--store={store}", *more.get(command, [])]


def _store(rng: random.Random, folder: Path) -> Case:
    """A command on a damaged store."""
    store = folder / "good.zarr"
    what = spoil_bytes(rng, rng.choice(sorted(p for p in store.rglob("*") if p.is_file())))
    command = rng.choice((*STORE_COMMANDS, "merge", "import"))
    if command == "merge":
        line = ["merge", str(store), str(folder / "none.zarr"), f"--output={folder / 'new.zarr'}"]
    elif command == "import":
        line = [*import_arguments(folder, store), "--append"]
    else:
        line = _on(command, str(store), folder)
    return Case("damaged store", tuple(line), what)


def _options(rng: random.Random, folder: Path) -> Case:
    """A command on the good store or study with odd options."""
    texts = [h for h in HOSTILE if isinstance(h, str) and "\x00" not in h and "\ud800" not in h]
    text, number = rng.choice(texts), str(rng.choice((-1, 0, 10**9, 10**30, "x", "", "1e3", "\u0663")))
    place = str(rng.choice((
        folder / "good.zarr", folder / "good.zarr" / "prompts", folder, folder / "study.yaml", folder / "none.zarr",
        folder / ("n" * 300), "/dev/null", "/proc/self/mem", "", folder / "good.zarr" / "zarr.json", "/etc/passwd",
    )))  # fmt: skip
    good, study = f"--store={folder / 'good.zarr'}", str(folder / "study.yaml")
    lines: list[list[str]] = [
        *(_on(command, place, folder) for command in STORE_COMMANDS),
        ["heuristics", good, f"--only={text}"], ["heuristics", good, f"--prompts={text}"], ["heuristics", good,
        f"--set={text}"],
        ["heuristics", good, f"--sort={text}"], ["heuristics", good, f"--prefix-type={text}"],
        ["heuristics", good, f"--engine={text}"], ["heuristics", good, "--json", "--csv"],
        ["outcomes", good, f"--trait={text}"], ["outcomes", good, f"--step={number}"], ["outcomes", good,
        f"--heuristics={text}"],
        ["outcomes", good, good], ["outcomes", good, f"--table={place}"],
        ["predict", good, f"--trait={text}"], ["predict", good, f"--step={number}"], ["predict", good,
        f"--heuristics={text}"],
        ["predict", good, f"--for={place}"],
        ["report", good, f"--seed={number}", f"--output={folder / 'new.html'}"],
        ["report", good, f"--set={text}", f"--output={folder / 'new.html'}"],
        ["report", good,
        f"--output={rng.choice((folder, folder / 'pools', '/dev/full', folder / 'none' / 'x', folder / ('n' * 300)))}"],
        ["report", good, f"--tokenizer={place}", f"--output={folder / 'new.html'}"],
        ["figures", good, f"--out={folder / 'study.yaml'}"], ["figures", good, f"--out={folder / 'new'}",
        f"--only={text}"],
        ["figures", good, f"--out={folder / 'new'}", "--only=spectrum_svd", f"--format={text}"],
        ["figures", good, f"--out={folder / 'new'}", "--only=spectrum_svd", f"--heuristics={text}"],
        ["import", place, f"--store={folder / 'new.zarr'}"], ["import", f"--store={place}"],
        ["import", str(folder / "import" / "logprobs.json"), f"--store={place}"],
        ["import", str(folder / "import" / "logprobs.json"), f"--trait={text}", f"--store={folder / 'new.zarr'}"],
        ["import", str(folder / "import" / "logprobs.json"), f"--rephrasings={place}",
        f"--store={folder / 'new.zarr'}"],
        ["import", str(folder / "import" / "logprobs.json"), f"--store={place}", "--append"],
        ["merge", str(folder / "good.zarr"), place, f"--output={folder / 'new.zarr'}"],
        ["merge", str(folder / "good.zarr"), str(folder / "good.zarr"), f"--output={place}"],
        ["merge", place, str(folder / "none.zarr"), f"--output={folder / 'new.zarr'}", "--dry-run"],
        ["answers", good, f"--worst={text}"], ["answers", good, f"--disagree={text},{text}"], ["answers", good,
        f"--run={text}"], ["answers", good, f"--step={number}"], ["answers", good, f"--limit={number}"],
        ["answers", good, f"--search={text}", f"--question={text}", f"--condition={text}"],
        ["recommend", good, f"--train={number}"], ["recommend", good, f"--prompts={text}"],
        ["recommend", good, f"--control={text}"], ["recommend", good, f"--figure={folder / text.replace('/', '_')}"],
        ["recommend", good, f"--for={place}"], ["predict", good, f"--model={text}"],
        ["emergence", good.removeprefix("--store="), f"--run={text}"],
        ["emergence", good.removeprefix("--store="), f"--seen={number}", f"--to={number}"],
        ["emergence", good.removeprefix("--store="), f"--threshold={number}"],
        ["judge", study, f"--store={place}", "--dry-run"], ["judge", study, good, f"--agreement={place}"],
        ["judge", study, good, f"--threshold={number}", f"--agreement={folder / 'labels.jsonl'}"],
        ["prefill", study, f"--store={place}", "--dry-run"], ["prefill", study, good, f"--runs={text}", "--dry-run"],
        ["check", place], ["new",
        str(rng.choice((folder, folder / "study.yaml", folder / ("n" * 300), folder / "none" / "x.yaml")))],
        ["doctor", place], ["doctor", f"--backend={text}"], ["doctor", study, f"--completions={number}"], [text],
        [f"--{text}"], [],
        *([command, study, f"--store={place}", "--dry-run"] for command in ("score", "elicit", "train", "evaluate",
        "run")),
        ["score", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--set={text}"],
        ["score", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--prompts={text}"],
        ["score", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--backend={text}"],
        ["elicit", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--prompts={text}"],
        ["train", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--runs={text}"],
        ["evaluate", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--runs={text}"],
        ["run", study, f"--store={folder / 'new.zarr'}", "--dry-run", f"--stages={text}"],
        ["rephrase", study, "--dry-run", f"--prompts={text}"], ["rephrase", study, "--dry-run", f"--with={text}"],
    ]  # fmt: skip
    arguments = rng.choice(lines)
    return Case("options", tuple(arguments), " ".join(arguments)[:200])
