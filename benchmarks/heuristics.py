"""How fast is `inoc heuristics`, cold and warm, beside its own floors and beside the plain peer.

    python -m benchmarks.heuristics --prompts 48 --tokens 352000      # the reference size
    python -m benchmarks.heuristics --quick                           # seconds, for tests
    python -m benchmarks.heuristics --scaling                         # memory and time over the number of tokens

Every round runs every contender once, each in its own process, BLAS pinned to one thread for all of them, page
cache warm; the table gives medians over rounds. Wall-clock ratios suffer from other load on the machine, CPU-time
ratios hardly; both are printed, with the share of the machine that others used meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MAIN = "from inoc.cli import main; main()"
FLOOR = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1].split(',')]"
READ = "import sys; from pathlib import Path; from benchmarks.peer import read; read(Path(sys.argv[1]))"
PINNED = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
LOADED = """
import contextlib, io, sys
from inoc.cli import cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    cli.main(sys.argv[1:], standalone_mode=False)
print(','.join(name for name, module in sys.modules.items() if getattr(module, '__spec__', None)))
"""


@dataclass(frozen=True)
class Sample:
    """One process (or, for `seconds`, what it timed inside itself)."""

    wall: float
    cpu: float
    rss: float
    """MB, peak"""
    seconds: dict[str, float]


def spawn(*arguments: str) -> Sample:
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **PINNED},
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments[:2]} failed:\n{err}")
    last = out.strip().splitlines()[-1:] or [""]
    seconds = json.loads(last[0]) if last[0].startswith("{") else {}
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, seconds)


def imported_by_the_command(store: Path) -> str:
    """Every importable module that is loaded when the command has run, comma-separated."""
    found = subprocess.run(
        [sys.executable, "-c", LOADED, "heuristics", "--store", str(store)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **PINNED},
    )
    names = found.stdout.strip().splitlines()[-1].split(",")
    return ",".join(name for name in names if name != "__main__")


def warm(store: Path, times: int) -> None:
    """Print the seconds of one in-process computation, engine by engine, after one that warms up."""
    from inoc.heuristics.frame.table import measure
    from inoc.store.store import open_store

    seconds: dict[str, float] = {}
    for engine in ("numpy", "jax"):
        taken: list[float] = []
        cpu: list[float] = []
        for _ in range(times + 1):
            begin, used = time.perf_counter(), time.process_time()
            measure(open_store(store), engine=engine)
            taken.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
        seconds |= {engine: median(taken[1:]), f"{engine} first": taken[0], f"{engine} cpu": median(cpu[1:])}
    print(json.dumps(seconds))


def contenders(store: Path, times: int) -> dict[str, tuple[str, ...]]:
    me, peer = "benchmarks.heuristics", "benchmarks.peer"
    return {
        "import floor": ("-c", FLOOR, imported_by_the_command(store)),
        "zarr and read": ("-c", READ, str(store)),
        "inoc heuristics": ("-c", MAIN, "heuristics", "--store", str(store)),
        "inoc heuristics --engine jax": (*("-c", MAIN, "heuristics", "--engine", "jax"), *("--store", str(store))),
        "warm": ("-m", me, "--warm", str(store), "--times", str(times)),
        "peer": ("-m", peer, str(store)),
    }


def busy() -> tuple[float, float]:
    """(seconds of CPU used on this machine so far, all seconds of CPU there were)."""
    ticks = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), sum(ticks) / os.sysconf("SC_CLK_TCK")


def compare(n_prompts: int, n_tokens: int, rounds: int, times: int) -> None:
    from benchmarks.store import write

    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "run.zarr"
        write(store, n_prompts, n_tokens)
        commands = contenders(store, times)
        samples: dict[str, list[Sample]] = {name: [] for name in commands}
        for name in commands:
            if name != "peer":
                spawn(*commands[name])  # page cache, byte code, compile cache
        used, there = busy()
        for _ in range(rounds):
            for name, command in commands.items():
                samples[name].append(spawn(*command))
    now_used, now_there = busy()
    own = sum(sample.cpu for group in samples.values() for sample in group)
    others = max(0.0, now_used - used - own) / (now_there - there)
    report(samples, n_prompts, n_tokens, rounds, others)


def report(samples: dict[str, list[Sample]], n_prompts: int, n_tokens: int, rounds: int, others: float) -> None:
    contended = "contended" if others > 0.02 else "quiet"
    print(f"{n_prompts} prompts x 2 prefix types x {n_tokens} tokens, {rounds} interleaved rounds, ", end="")
    print(f"{os.cpu_count()} cores, {contended}: others used {others:.0%} of the machine.\n")
    print("| process | wall s, median [min] | CPU s, median | peak MB |")
    print("|---|---|---|---|")
    for name, group in samples.items():
        if name != "warm":
            walls = [s.wall for s in group]
            cpu, rss = median(s.cpu for s in group), max(s.rss for s in group)
            print(f"| {name} | {median(walls):.2f} [{min(walls):.2f}] | {cpu:.2f} | {rss:.0f} |")

    def inside(name: str, key: str) -> list[float]:
        return [s.seconds[key] for s in samples[name]]

    print("\n| in process, imports done | wall s, median [min] | CPU s, median |\n|---|---|---|")
    peer_total = [a + b for a, b in zip(inside("peer", "read"), inside("peer", "compute"), strict=True)]
    for name, taken, used in (
        ("inoc, NumPy engine", inside("warm", "numpy"), inside("warm", "numpy cpu")),
        ("inoc, JAX engine", inside("warm", "jax"), inside("warm", "jax cpu")),
        ("peer", peer_total, inside("peer", "cpu")),
    ):
        print(f"| {name} | {median(taken):.2f} [{min(taken):.2f}] | {median(used):.2f} |")

    def ratio(one: Sequence[float], other: Sequence[float]) -> str:
        """Median of the rounds' own ratios, so that load that comes and goes cancels."""
        return f"{median(a / b for a, b in zip(one, other, strict=True)):.1f}"

    def walls(name: str) -> list[float]:
        return [s.wall for s in samples[name]]

    def cpus(name: str) -> list[float]:
        return [s.cpu for s in samples[name]]

    ours, peer = "inoc heuristics", "peer"
    print("\n| ratio | wall | CPU |\n|---|---|---|")
    for label, one, other in (
        ("peer / inoc heuristics, whole processes", peer, ours),
        ("inoc heuristics / import floor", ours, "import floor"),
        ("inoc heuristics / zarr and read", ours, "zarr and read"),
        ("--engine jax / inoc heuristics", "inoc heuristics --engine jax", ours),
    ):
        print(f"| {label} | {ratio(walls(one), walls(other))} | {ratio(cpus(one), cpus(other))} |")
    warm_wall, warm_cpu = inside("warm", "numpy"), inside("warm", "numpy cpu")
    print(f"| peer / inoc, in process | {ratio(peer_total, warm_wall)} ", end="")
    print(f"| {ratio(inside('peer', 'cpu'), warm_cpu)} |")
    print(f"| JAX / NumPy engine, in process | {ratio(inside('warm', 'jax'), warm_wall)} ", end="")
    print(f"| {ratio(inside('warm', 'jax cpu'), warm_cpu)} |")


def scaling(n_prompts: int, tokens: Sequence[int], spectrum: bool) -> None:
    """Peak memory and time of `token_statistics` over the number of tokens, each in its own process."""
    print("| prompts | tokens | wall s | CPU s | CPU us / token | peak MB |\n|---|---|---|---|---|---|")
    for n_tokens in tokens:
        got = spawn(
            *("-m", "benchmarks.heuristics", "--one", "--prompts", str(n_prompts), "--tokens", str(n_tokens)),
            *(["--spectrum"] if spectrum else []),
        )
        each = got.cpu / n_tokens * 1e6
        print(f"| {n_prompts} | {n_tokens} | {got.wall:.1f} | {got.cpu:.1f} | {each:.0f} | {got.rss:.0f} |")


def one(n_prompts: int, n_tokens: int, spectrum: bool) -> None:
    """`token_statistics` of a store that is larger than memory: slices are made when they are read."""
    import numpy as np

    from benchmarks.store import sizes
    from inoc.heuristics import heuristics
    from inoc.heuristics.frame.registry import as_terms
    from inoc.heuristics.tokens.one_pass import token_statistics

    rng = np.random.default_rng(0)
    base = -rng.exponential(1, 1 << 20).astype(np.float32)

    class Generated:
        """prefixed[f, p, t] = base[(t + 977 row) mod len(base)], one chunk column at a time like a store."""

        def __init__(self, *shape: int) -> None:
            self.shape, self.chunks = shape, (1, 1, 32768)

        def __getitem__(self, key: tuple[int | slice, ...] | slice) -> np.ndarray:
            keys = (*(key if isinstance(key, tuple) else (key,)), *[slice(None)] * 3)[: len(self.shape)]
            ranges = [
                range(*k.indices(n)) if isinstance(k, slice) else range(k, k + 1)
                for k, n in zip(keys, self.shape, strict=True)
            ]
            if len(self.shape) == 1:
                return base[(np.arange(ranges[0].start, ranges[0].stop) * 7) % base.size]
            out = np.empty([len(r) for r in ranges], np.float32)
            token = np.arange(ranges[2].start, ranges[2].stop)
            for i, f in enumerate(ranges[0]):
                for j, p in enumerate(ranges[1]):
                    row = f * self.shape[1] + p
                    out[i, j] = base.take((token + 977 * row) % base.size)
            return out[tuple(0 if isinstance(k, int) else slice(None) for k in keys)]

    terms = {n: h.token_term for n, h in heuristics().items() if h.token_term}
    row_terms = {n: h.row_term for n, h in heuristics().items() if h.row_term}
    got = token_statistics(
        Generated(n_tokens),
        Generated(2, n_prompts, n_tokens),
        sizes(n_tokens),
        prefix_types=("fixed", "mix"),
        prompts=[str(p) for p in range(n_prompts)],
        terms=as_terms(terms),
        row_terms=as_terms(row_terms if spectrum else {"top_quarter": row_terms["top_quarter"]}),
    )
    assert np.isfinite(got.means["mean_abs"]).all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--tokens", type=int, nargs="*", default=[352_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=3, help="in-process repetitions per round")
    parser.add_argument("--quick", action="store_true", help="a small store, one round")
    parser.add_argument("--scaling", action="store_true", help="memory and time over --tokens")
    parser.add_argument("--spectrum", action="store_true", help="with HB1 and HB5 in --scaling")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.warm:
        warm(given.warm, given.times)
    elif given.one:
        one(given.prompts, given.tokens[0], given.spectrum)
    elif given.scaling:
        scaling(given.prompts, given.tokens, given.spectrum)
    elif given.quick:
        compare(6, 6000, 1, 1)
    else:
        compare(given.prompts, given.tokens[0], given.rounds, given.times)


if __name__ == "__main__":
    main()
