"""inoc's local backend against what others would use: lm-evaluation-harness, a PEFT loop, TRL, `generate`.

Everything runs in one process on the testbed's model, one thread, float32, by turns in every round; processor time
counts. Training: the first updates of a run of the demo, whose losses must be the same. Needs `pip install -e
'.[local,datasets]' --group test` and, for scoring, lm-eval (its folder may be given, where it is installed elsewhere).

    python -m benchmarks.peers [--rounds 5] [--lm-eval /path/to/site-packages]
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

from benchmarks.scoring import LONG, STUDY, TESTBED, Lengths, machine, make_requests, ours
from inoc.backends import load_backend
from inoc.backends.local.engine import Engine
from inoc.backends.local.sample import sample
from inoc.backends.protocols import SampleRequest, TrainingJob, TrainingStep
from inoc.backends.training import learning_rate
from inoc.experiment import load_experiment
from inoc.plan import Study, plan_training
from inoc.testbed import experiment_path, model_path
from inoc.values import Sampling

UPDATES = 8
Work = Callable[[], float]
"""Returns how much was done."""


def load() -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()


def by_turns(what: str, ways: Mapping[str, Work], rounds: int) -> list[str]:
    """A row for each way; the first is inoc."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            amount = way()
            if turn:  # the first round warms
                spent[name].append((time.process_time() - began) / amount)
    mine = next(iter(spent.values()))
    rows = []
    for name, found in spent.items():
        ratios = [there / here for there, here in zip(found, mine, strict=True)]
        rate = f"{1 / statistics.median(found):,.{0 if found[0] < 0.01 else 1}f}"
        span = "" if found is mine else f"**{statistics.median(ratios):.2f}** [{min(ratios):.2f}, {max(ratios):.2f}]"
        rows.append(f"| {what} | {name} | {rate} | {span} |")
        print(rows[-1], flush=True)
    return rows


def scoring(rounds: int, lengths: Lengths, examples: int) -> None:
    """Completion tokens; against the log-likelihoods of lm-evaluation-harness, batches of 64."""
    from lm_eval.models.huggingface import HFLM

    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path())
    theirs = HFLM(pretrained=load(), tokenizer=tokenizer, batch_size=64, max_length=512, device="cpu")
    engine, requests = Engine(load()), make_requests(lengths, examples, 4, 1000)
    tokens = sum(len(request.completion) for request in requests)
    sums: dict[str, np.ndarray] = {}

    def inoc() -> float:
        found = ours(engine, requests, 1024)
        sums["inoc"] = np.array([found[request.id].sum() for request in requests])
        return tokens

    def harness() -> float:
        asked = [(("", ""), list(request.context), list(request.completion)) for request in requests]
        sums["lm-eval"] = np.array([total for total, _ in theirs._loglikelihood_tokens(asked, disable_tqdm=True)])
        return tokens

    by_turns(f"scoring, {lengths.name}: tokens/s", {"inoc": inoc, f"lm-eval {version('lm_eval')}": harness}, rounds)
    np.testing.assert_allclose(sums["inoc"], sums["lm-eval"], atol=2e-3)


def peft_loop(model: transformers.PreTrainedModel, job: TrainingJob) -> list[float]:
    """The loop that everyone writes: pad, all logits, cross-entropy, AdamW."""
    torch.manual_seed(job.seed)
    settings = job.adapter
    adapted = peft.get_peft_model(
        model,
        peft.LoraConfig(
            task_type="CAUSAL_LM", r=settings.rank, lora_alpha=settings.alpha, use_rslora=settings.rslora,
            lora_dropout=settings.dropout, target_modules=list(settings.targets),
        ),
    )  # fmt: skip
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job.learning_rate, weight_decay=job.weight_decay)
    adapted.train()
    losses: list[float] = []
    for number, batch in enumerate(job.batches):
        rows = [job.examples[i] for i in batch]

        def pad(values: list[list[float]]) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in values], batch_first=True)

        ids = pad([list(row.token_ids) for row in rows])
        mask, share = pad([[1] * len(row.token_ids) for row in rows]), pad([list(row.weights) for row in rows])
        logits = adapted(input_ids=ids, attention_mask=mask).logits[:, :-1]
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (nll * share[:, 1:].flatten()).sum() / share[:, 1:].sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, job.max_grad_norm)
        optimizer.param_groups[0]["lr"] = learning_rate(job, number)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    adapted.unload()
    return losses


def training(rounds: int, folder: Path) -> None:
    """Updates of a run of the demo; against a PEFT loop, and TRL as the example plugin drives it."""
    sys.path.append(str(Path(__file__).parents[1] / "examples" / "plugins" / "trl"))
    from inoc_trl import TrlBackend

    experiment = load_experiment(experiment_path())
    backend = load_backend(experiment.backend.name, experiment.model_spec())
    trl, model = TrlBackend.from_spec(replace(experiment.model_spec(), options={"device": "cpu"})), load()
    whole = plan_training(Study(experiment, backend, folder / "t.zarr"))[1].job
    job = replace(whole, batches=whole.batches[:UPDATES], checkpoint_steps=(), questions=())
    losses: dict[str, list[float]] = {}
    turn = iter(range(10**6))

    def trained(name: str, trainer: object) -> float:
        here = replace(job, directory=str(folder / f"{name}-{next(turn)}"))
        events = trainer.train(here)  # pyright: ignore[reportAttributeAccessIssue]
        losses[name] = [event.loss for event in events if isinstance(event, TrainingStep)]
        return UPDATES

    def loop() -> float:
        losses["loop"] = peft_loop(model, job)
        return UPDATES

    ways: dict[str, Work] = {
        "inoc": lambda: trained("inoc", backend),
        f"PEFT {version('peft')} loop": loop,
        f"TRL {version('trl')}": lambda: trained("trl", trl),
    }
    by_turns("training, a run of the demo: updates/s", ways, rounds)
    for other in ("loop", "trl"):
        np.testing.assert_allclose(losses["inoc"], losses[other], rtol=1e-3)


def sampling(rounds: int) -> None:
    """Tokens of answers at temperature 1; against `generate` on batches of 64, padded on the left, longest last."""
    rng, model, engine = np.random.default_rng(0), load(), Engine(load())
    contexts = [tuple(rng.integers(3, 1000, int(rng.integers(20, 60))).tolist()) for _ in range(200)]
    stop = transformers.AutoTokenizer.from_pretrained(model_path()).eos_token_id

    def inoc() -> float:
        asked = [SampleRequest(str(i), context) for i, context in enumerate(contexts)]
        settings = Sampling(max_tokens=80, seed=0, stop_ids=(stop,))
        return sum(
            len(made.token_ids) + (made.finish == "stop") for made in sample(engine, asked, None, settings, rows=64)
        )

    def generate() -> float:
        torch.manual_seed(0)
        made, ordered = 0, sorted(contexts, key=len)
        for start in range(0, len(ordered), 64):
            batch = ordered[start : start + 64]
            width = len(batch[-1])
            ids = torch.tensor([[0] * (width - len(context)) + list(context) for context in batch])
            mask = torch.tensor([[0] * (width - len(context)) + [1] * len(context) for context in batch])
            out = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                max_new_tokens=80, pad_token_id=0, eos_token_id=stop,
            )[:, width:]  # fmt: skip
            ends = (out == stop).int()
            made += int(torch.where(ends.any(1), ends.argmax(1) + 1, out.shape[1]).sum())
        return made

    by_turns(
        "sampling, 200 answers: tokens/s",
        {"inoc": inoc, f"generate, transformers {version('transformers')}": generate},
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lm-eval", default="", help="the folder that lm-eval is installed in")
    given = parser.parse_args()
    sys.path.append(given.lm_eval)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    print(f"{machine()}; load {os.getloadavg()[0]:.0f}\n")
    print("| what | with | rate | CPU seconds / inoc's |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        training(given.rounds, Path(place))
    sampling(given.rounds)
    try:
        version("lm_eval")
    except PackageNotFoundError:
        print("lm-eval is not installed: no comparison of scoring")
    else:
        for lengths, examples in ((TESTBED, 75), (STUDY, 25), (LONG, 25)):
            scoring(given.rounds, lengths, examples)


if __name__ == "__main__":
    main()
