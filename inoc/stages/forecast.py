"""What a stage would do, from its plan and the store: nothing is sent and nothing is written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from inoc.backends.pricing import Price, Priced, Work
from inoc.backends.protocols import Checkpoint
from inoc.experiment import Experiment
from inoc.plan import Study, Texts, plan_evaluation, plan_scores, plan_training
from inoc.plan.texts import elicitation_texts, generated_texts, most_tokens, sets_to_make
from inoc.stages.describe import has_self_perplexity, plan_embeddings
from inoc.stages.opening import evaluations_done, prompts_elicited, refuse_changes, stored, units_done
from inoc.stages.rephrase import pool_settings, pools_on_disk
from inoc.stages.sampling import kept_answers
from inoc.stages.score import scorer_of
from inoc.stages.train import refuse_other_runs, trainer_of
from inoc.stages.trained import read_record
from inoc.values import Json


class Row(NamedTuple):
    """One line of a forecast.

    Attributes:
        name: What it is about: a completion set, a prompt, a run.
        unit: What is counted, such as "units" or "answers".
        total: How many the plan has.
        done: How many of them are made already.
        tokens: Tokens that the model will process for the rest; answers count at their full length.
        detail: A remark.
    """

    name: str
    unit: str
    total: int
    done: int
    tokens: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Forecast:
    """What a stage would do.

    Attributes:
        stage: The stage.
        rows: One per completion set, prompt or run.
        price: What the rest costs; None where the backend says no price or nothing is left.
        notes: What the forecast leaves out.
    """

    stage: str
    rows: tuple[Row, ...]
    price: Price | None = None
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(row.tokens for row in self.rows)

    def to_json(self) -> dict[str, Json]:
        """As one JSON object."""
        rows: list[Json] = [{**row._asdict(), "pending": row.total - row.done} for row in self.rows]
        price: Json = None if self.price is None else asdict(self.price)
        return {
            "stage": self.stage,
            "rows": rows,
            "tokens": self.tokens,
            "price": price,
            "notes": list(self.notes),
        }


def forecast_scores(
    study: Study, sets: Sequence[str] = (), prefix_types: Sequence[str] = (), prompts: Sequence[str] = ()
) -> Forecast:
    """What `inoc score` would do: units and completion tokens. Sets that are yet to be made are named, not counted."""
    scorer_of(study.backend)
    missing = sets_to_make(study, sets)
    known = [name for name, _ in study.experiment.completion_sets.items() if not sets or name in sets]
    notes = tuple(f"{name} is made by `inoc generate` first and is not counted" for name in missing)
    left = [name for name in (sets or known) if name not in missing]
    if not left:
        return Forecast("score", (), None, notes)
    plan = plan_scores(study, sets=left, prefix_types=prefix_types, prompts=prompts)
    refuse_changes(study, scores=plan)
    done = units_done(stored(study))
    rows: list[Row] = []
    for entry in plan.sets:
        units = [unit for unit in plan.units if unit.completion_set == entry.name]
        there = sum(unit in done for unit in units)
        detail = f"{len(entry.examples)}/{entry.available} examples, {entry.context_tokens:,} context tokens"
        rows.append(Row(entry.name, "units", len(units), there, (len(units) - there) * entry.tokens, detail))
    pending = [unit for unit in plan.units if unit not in done]
    return Forecast("score", tuple(rows), _price(study, plan.tokens(pending), "score"), notes)


def forecast_pools(experiment: Experiment, prompts: Sequence[str] = ()) -> Forecast:
    """What `inoc rephrase` would do: rewordings by prompt."""
    settings = pool_settings(experiment)
    rows = [
        Row(prompt.key, "texts", settings.size, min(len(set(pool)), settings.size))
        for prompt, pool in pools_on_disk(experiment, prompts)
    ]
    return Forecast("rephrase", tuple(rows))


def forecast_generation(study: Study, sets: Sequence[str] = ()) -> Forecast:
    """What `inoc generate` would do: answers by completion set."""
    wanted = sets_to_make(study, sets)
    rows: list[Row] = []
    for name, entry in wanted.items():
        if entry.generate is None:
            detail = "" if entry.dataset is None else f"from the dataset {entry.dataset.name}"
            rows.append(Row(name, "sets", 1, 0, 0, detail))
        elif entry.generate.instructions is None and "train" in sets_to_make(study):
            detail = "tokens are counted once the set train is made"
            rows.append(Row(name, "answers", entry.generate.n, 0, 0, detail))
        else:
            rows.append(_answers(study, name, [_Asked(generated_texts(study, name, entry.generate), False)]))
    return Forecast("generate", tuple(rows), _price(study, sum(row.tokens for row in rows), "sample"))


def forecast_description(study: Study, embeddings: bool = True) -> Forecast:
    """What `inoc describe` would do: prompts by kind of description."""
    refuse_changes(study)
    prompts = study.experiment.prompt_list()
    n = len(prompts)
    encode = study.chat.tokenizer.encode
    there = has_self_perplexity(study)
    tokens = 0 if there else 2 * sum(len(encode(p.text, add_special_tokens=False)) for p in prompts)
    rows = [Row("self-perplexity", "prompts", n, n if there else 0, tokens)]
    if not embeddings:
        return Forecast("describe", tuple(rows))
    waiting = plan_embeddings(study)
    texts = [text for prompt in waiting.prompts for text in (prompt.text, *waiting.pools.get(prompt.key, ()))]
    tokens = sum(len(encode(text, add_special_tokens=False)) for text in texts)
    rows.append(
        Row("embeddings", "prompts", n, n - len(waiting.prompts), tokens, f"{len(texts)} texts to embed")
    )
    return Forecast("describe", tuple(rows), None, waiting.notes)


def forecast_elicitation(study: Study, prompts: Sequence[str] = ()) -> Forecast:
    """What `inoc elicit` would do: answers by prompt."""
    keys = study.prompts(prompts)
    refuse_changes(study, elicitation=True)
    done = prompts_elicited(stored(study))
    rows: list[Row] = []
    for key, texts in elicitation_texts(study, ["", *keys]).items():
        asked = [_Asked(texts, key in done)]
        rows.append(_answers(study, key or "(no prompt)", asked, _to_judge(asked)))
    return Forecast("elicit", tuple(rows), _price(study, sum(row.tokens for row in rows), "sample"))


def forecast_training(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc train` would do: updates by run."""
    trainer_of(study.backend)
    plans = plan_training(study, runs)
    done = refuse_other_runs(study, plans)
    rows = tuple(
        Row(plan.run.name, "updates", plan.updates, plan.updates)
        if plan.run.name in done
        else Row(plan.run.name, "updates", plan.updates, 0, plan.tokens)
        for plan in plans
    )
    pending = [row for row in rows if row.done < row.total]
    return Forecast("train", rows, _price(study, sum(row.tokens for row in pending), "train", len(pending)))


def forecast_evaluation(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc evaluate` would do: answers by run. A run that is not trained yet counts as its plan says."""
    chosen, store = study.runs(runs), stored(study)
    records = {run.name: read_record(study, run.name) for run in chosen}
    updates = {name: record.updates for name, record in records.items() if record is not None}
    new = [run.name for run in chosen if run.name not in updates]
    updates |= {plan.run.name: plan.updates for plan in (plan_training(study, new) if new else ())}
    plans = [(run, entry) for run in chosen for entry in plan_evaluation(study, run, updates[run.name])]
    refuse_changes(study, runs=[(entry, False) for _, entry in plans])
    done = evaluations_done(store)
    rows: list[Row] = []
    for run, entry in plans:
        record = records[run.name]
        asked = [
            _Asked(
                cell.texts,
                (entry.name, cell.step, cell.condition) in done,
                None if record is None else record.at(cell.step),
            )
            for cell in entry.cells
        ]
        detail = _to_judge(asked) + ("" if record else ", not trained yet")
        rows.append(_answers(study, entry.name, asked, detail))
    return Forecast("evaluate", tuple(rows), _price(study, sum(row.tokens for row in rows), "sample"))


class _Asked(NamedTuple):
    texts: Texts
    stored: bool
    checkpoint: Checkpoint | None = None


def _answers(study: Study, name: str, asked: Sequence[_Asked], detail: str = "") -> Row:
    """The answers of a row; those that are sampled and not judged yet count as done."""
    left = [a.texts for a in asked if not a.stored and kept_answers(a.texts, a.checkpoint) is None]
    total = sum(len(a.texts.questions) for a in asked)
    return Row(name, "answers", total, total - _questions(left), most_tokens(study, left), detail)


def _to_judge(asked: Sequence[_Asked]) -> str:
    n = _questions([a.texts for a in asked if not a.stored])
    return f"{n} to judge" if n else ""


def _questions(groups: Sequence[Texts]) -> int:
    return sum(len(texts.questions) for texts in groups)


def _price(study: Study, tokens: int, work: Work, jobs: int | None = None) -> Price | None:
    if not tokens or not isinstance(study.backend, Priced):
        return None
    return study.backend.price(tokens, work, jobs)
