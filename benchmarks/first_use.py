"""From JSON to the first numbers: `inoc import` and `inoc heuristics` against the least that a script does, `json.load`
and one array for each unit, and against the published analysis as a plain script (`benchmarks/plain_script.py`).

    python -m benchmarks.first_use [--prompts 57] [--rounds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SCRIPT = """
import json, sys
import numpy as np
data = json.load(open(sys.argv[1]))
base = data["baseline"]["lp_train_default_tokens"]
for key, entry in data["prompts"].items():
    for kind in ("inoc", "mix"):
        means = [np.mean(np.subtract(a, b)) for a, b in zip(entry[f"lp_train_{kind}_tokens"], base)]
        print(key, kind, np.mean(means))
"""


def write(path: Path, n_prompts: int, seed: int = 0) -> None:
    """Token log-probabilities of 1,000 examples with 50 to 149 tokens, in the layout that is imported."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(50, 150, 1000))

    def lists() -> str:
        values = -rng.exponential(1.0, ends[-1])
        return json.dumps([part.tolist() for part in np.split(values, ends[:-1])])

    with path.open("w") as file:
        file.write('{"params": {"model": "m"}, "baseline": {"lp_train_default_tokens": ' + lists() + '}, "prompts": {')
        for i in range(n_prompts):
            units = f'"prompt": "Text {i}.", "lp_train_inoc_tokens": {lists()}, "lp_train_mix_tokens": {lists()}'
            file.write(("" if i == 0 else ", ") + f'"p{i}": {{{units}}}')
        file.write("}}")


def spent(command: list[str]) -> tuple[float, float]:
    """Seconds of processor time and the peak memory in MB of a command."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); r = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(r.ru_utime + r.ru_stime, r.ru_maxrss)"
    )
    said = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True).stdout
    seconds, peak = map(float, said.split())
    return seconds, peak / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=57)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, store = Path(folder, "logprobs.json"), Path(folder, "run.zarr")
        write(source, options.prompts)
        inoc = [sys.executable, "-m", "inoc"]
        commands = {
            "json.load and means": [sys.executable, "-c", SCRIPT, str(source)],
            "plain script": [sys.executable, str(Path(__file__).with_name("plain_script.py")), str(source)],
            "inoc import": [*inoc, "import", str(source), "--store", str(store), "--overwrite"],
            "inoc heuristics": [*inoc, "heuristics", "--store", str(store)],
            "inoc heuristics --json (all)": [*inoc, "heuristics", "--store", str(store), "--json"],
            "inoc heuristics --only ph": [*inoc, "heuristics", "--store", str(store), "--only", "ph"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                found[name].append(spent(command))
        mega = source.stat().st_size / 1e6
    sys.stdout.write(
        f"{mega:.0f} MB of JSON, {options.rounds} rounds by turns; load {os.getloadavg()[0]:.0f}\n\n"
        "| | CPU s | peak MB | json.load / this | plain script / this |\n|---|---|---|---|---|\n"
    )
    for name, runs in found.items():
        ratios = [
            statistics.median(a[0] / b[0] for a, b in zip(found[other], runs, strict=True))
            for other in ("json.load and means", "plain script")
        ]
        seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        sys.stdout.write(f"| {name} | {seconds:.2f} | {peak:.0f} | {ratios[0]:.1f} | {ratios[1]:.1f} |\n")
    use = [
        a[0] / (b[0] + c[0])
        for a, b, c in zip(
            found["plain script"], found["inoc import"], found["inoc heuristics --json (all)"], strict=True
        )
    ]
    sys.stdout.write(f"plain script / (import and all heuristics): {statistics.median(use):.1f}\n")


if __name__ == "__main__":
    main()
