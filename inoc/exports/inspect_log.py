"""The stored answers and their scores as evaluation logs that Inspect shows: one for each run and condition."""

from collections.abc import Iterator
from typing import Final

from inoc._version import __version__
from inoc.outcomes.stored_answers import Answer, answers
from inoc.store.store import Store
from inoc.values import Json

CREATED: Final = "1970-01-01T00:00:00+00:00"
"""Inspect needs a time; the store keeps none, and the same store gives the same bytes."""


def inspect_logs(store: Store) -> Iterator[tuple[str, Json]]:
    """Logs in Inspect's JSON format, version 2.

    Args:
        store: A store that keeps answers.

    Yields:
        "RUN_stepSTEP_CONDITION" and the log; scores are 0-100, as in the store.

    Raises:
        IncompleteStore: The store keeps no answers.
    """
    cells: dict[tuple[str, int, str], list[Answer]] = {}
    for answer in answers(store):
        cells.setdefault((answer.run, answer.step, answer.condition), []).append(answer)
    model = f"inoc/{store.identity.get('model') or 'model'}"
    for (run, step, condition), found in cells.items():
        name = f"{run}_step{step}_{condition}"
        yield name, {
            "version": 2,
            "status": "success",
            "eval": {
                "created": CREATED, "task": name, "task_version": 0, "task_id": name, "run_id": name, "eval_id": name,
                "dataset": {"name": store.path.stem, "samples": len(found)}, "model": model,
                "config": {}, "packages": {"inoc": __version__},
                "metadata": {"run": run, "step": step, "condition": condition},
            },
            "samples": [_sample(answer, model) for answer in found],
        }  # fmt: skip


def _sample(answer: Answer, model: str) -> Json:
    turn: dict[str, Json] = {"role": "assistant", "content": answer.text}
    return {
        "id": answer.question,
        "epoch": answer.sample,
        "input": answer.question,
        "target": "",
        "messages": [{"role": "user", "content": answer.question}, turn],
        "output": {"model": model, "choices": [{"message": turn, "stop_reason": "stop"}]},
        "scores": {name: {"value": score} for name, score in answer.scores.items() if score is not None},
        "metadata": {"file": answer.file},
    }
