"""CPU seconds that the probes of one prompt and prefix type take on the testbed, beside a training run, and the memory.

python -m benchmarks.probe_cost
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch

from inoc import testbed
from inoc.backends.local import LocalBackend
from inoc.experiment import Inside, load_experiment
from inoc.plan import Study, plan_training
from inoc.plan.probes import PROBES, ProbeUnit, plan_probes

REPEATS = 3


def seconds(results: Iterator[object], n: int) -> float:
    """CPU seconds of each of the next results, one thread."""
    start = time.process_time()
    for _ in range(n):
        next(results)
    return (time.process_time() - start) / n


def peak() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)


def memory(study: Study) -> None:
    """Peak memory after the probes of one unit and after eight, with more and more examples."""
    assert isinstance(study.backend, LocalBackend)
    for examples in (64, 256):
        inside = Inside(weights="all", examples=examples)
        plan = plan_probes(replace(study, experiment=study.experiment.model_copy(update={"inside": inside})))
        group = plan.group(plan.units[0])
        for n in (1, 8):
            for kind in PROBES:
                for _ in study.backend.probe(plan.spec(kind), [group] * n, plan.references(kind)):
                    pass
            click.echo(f"{examples} examples, {n} x all three: peak {peak():.0f} MB")


def main() -> None:
    torch.set_num_threads(1)
    experiment = load_experiment(testbed.experiment_path())
    backend = LocalBackend.from_spec(experiment.model_spec())
    with tempfile.TemporaryDirectory() as folder:
        study = Study(experiment, backend, Path(folder) / "study.zarr")
        run = next(run for run in experiment.runs() if run.prefix_type == "mix")
        click.echo(f"model loaded, its tokenizer used: peak {peak():.0f} MB")
        memory(study)
        job = plan_training(study, [run.name])[0].job
        start = time.process_time()
        for _ in backend.train(job):
            pass
        training = time.process_time() - start
        click.echo(f"after the training: peak {peak():.0f} MB")
        click.echo(f"a training run of {len(job.batches)} updates of {len(job.batches[0])}: {training:.1f} s")
        for inside in (Inside(), Inside(weights="all")):
            plan = plan_probes(replace(study, experiment=experiment.model_copy(update={"inside": inside})))
            group, total = plan.group(ProbeUnit("mix", run.prompt)), 0.0
            for kind in PROBES:
                references = plan.references(kind)
                results = iter(backend.probe(plan.spec(kind), [group] * (REPEATS + 1), references))
                seconds(results, len(references) + 1)
                total += (cost := seconds(results, REPEATS))
                click.echo(f"{kind}, {inside.weights}, {inside.examples} examples: {cost:.2f} s")
            click.echo(f"all three, {inside.weights}: {total:.2f} s, {total / training:.1%} of the training run")


if __name__ == "__main__":
    main()
