"""`inoc info`: show what a store holds and what is missing."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from inoc.cli.options import counted, json_option, store_argument

if TYPE_CHECKING:
    from inoc.store.summary import StoreSummary


@click.command("info")
@store_argument
@json_option
def info(store: Path, as_json: bool) -> None:
    """Show what STORE holds: prompts, completion sets, runs, what is pending and what is missing."""
    import json
    from dataclasses import asdict

    from inoc.store.store import open_store
    from inoc.store.summary import summarize

    summary = summarize(open_store(store))
    if as_json:
        document = {**asdict(summary), "traits": [t.stored for t in summary.traits]}
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _show(summary)


def _show(summary: "StoreSummary") -> None:
    import json

    from inoc.cli.console import show, stdout

    console = stdout()
    state = "complete" if summary.complete else "not complete"
    console.print(
        f"{summary.store}  schema v{summary.schema_version}, {state}, {_size(summary.bytes_on_disk)}", soft_wrap=True
    )
    roles = ", ".join(f"{n} {role}" for role, n in summary.prompts.items())
    console.print(f"prompts   {sum(summary.prompts.values())} ({roles or 'none'})")
    traits = ", ".join(f"{t.name} ({t.role}, family {t.family})" for t in summary.traits)
    console.print(f"traits    {traits or 'none'}")
    if summary.elicitation:
        e = summary.elicitation
        console.print(
            f"elicited  {counted(e['prompts'], 'prompt')} x "
            f"{counted(e['instructions'], 'instruction')}, {e['missing']} missing"
        )
    if summary.rephrasings:
        sizes = sorted(summary.rephrasings.values())
        size = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        console.print(f"pools     {counted(len(sizes), 'rephrasing pool')} of {size}")
    if summary.probes:
        units = (f"{name} {done} of {planned} units" for name, (done, planned) in summary.probes.items())
        console.print(f"probed    {', '.join(units)}")
    for name in ("self_perplexity", "embeddings"):
        if n := getattr(summary, name):
            console.print(f"{name}  {counted(n, 'prompt')}")
    if summary.sets:
        columns = ("set", "level", "prompts", "prefix types", "examples", "tokens", "done", "pending", "NaN")
        rows = [
            [
                s.completion_set, s.level, str(s.prompts), ", ".join(s.prefix_types), f"{s.examples:,}",
                "" if s.tokens is None else f"{s.tokens:,}", str(s.units_done), str(s.units_pending), f"{s.missing:,}",
            ]
            for s in summary.sets
        ]  # fmt: skip
        show(console, "", columns, rows, words=("set", "level", "prefix types"), drop=("tokens", "examples", "level"))
    if summary.runs:
        columns = ("run", "prefix type", "steps", "done", "pending", "NaN", "judges", "updates")
        rows = [
            [
                r.name, r.prefix_type, ", ".join(map(str, r.steps)),
                *map(str, (r.evaluations_done, r.evaluations_pending, r.missing)),
                ", ".join(dict.fromkeys(r.judges.values())), str(r.updates),
            ]
            for r in summary.runs
        ]  # fmt: skip
        show(
            console,
            "",
            columns,
            rows,
            words=("run", "prefix type", "steps", "judges"),
            drop=("judges", "updates", "steps"),
        )
    for name in ("identity", "provenance"):
        fields = getattr(summary, name)
        console.print(name, style="bold")
        for key, value in fields.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            short = text if len(text) <= 160 else f"{text[:150]}... (--json shows all)"
            console.print(f"  {key}: {short}", soft_wrap=True)
    console.print("history", style="bold")
    for entry in summary.history:
        changes = cast("list[str]", entry["changes"])
        console.print(f"  {entry['when']}  {entry['command']}  inoc {entry['inoc']}", soft_wrap=True)
        for line in changes[:10]:
            console.print(f"    {line}", soft_wrap=True)
        if len(changes) > 10:
            console.print(f"    {len(changes) - 10} more (--json shows all)")


def _size(n: int | float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
