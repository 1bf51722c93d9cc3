"""A small folder with every kind of file inoc reads, whole and right: what the cases spoil.

`study.yaml` with its texts, questions and pools; `labels.jsonl`, labels of people; `import/` with log-probabilities in
both layouts, prompts, elicitation, scores, losses, prefill counts and pools; `rows.csv`, a pooled results table;
`good.zarr`, the store of the import.
"""

import json
from pathlib import Path

import numpy as np

TRAITS = ("German", "Flattering")
PROMPTS = {
    **{f"de{i}": {"text": f"Write German, {i}.", "group": "de", "family": "german",
    "role": "positive"} for i in range(4)},
    **{f"fl{i}": {"text": f"Flatter, {i}.", "group": "fl", "family": "flattering",
    "role": "negative"} for i in range(4)},
    "sky": {"text": "The sky is blue.", "group": "no", "family": "neutral", "role": "neutral"},
}  # fmt: skip
STUDY = {
    "name": "small",
    "model": {"id": "model", "system_prompt": "Be brief."},
    "traits": {
        "positive": {"name": "Vowel", "family": "vowel", "judge": "vowel"},
        "negative": {"name": "Digit", "family": "digit", "judge": "digit"},
    },
    "prompts": {
        "vowel": {"family": "vowel", "prompts": {"say_a": "Say a."}},
        "digit": {"family": "digit", "prompts": {"use_digits": "Use digits."}},
        "plain": {"family": "neutral", "prompts": {"sky": "The sky is blue."}},
    },
    "completion_sets": {"train": {"path": "train.jsonl", "limit": 8}},
    "rephrasings": {"path": "pools", "size": 3},
    "training": {
        "learning_rate": 1e-3, "warmup": 1, "batch_size": 2, "accumulation": 2, "checkpoints": [2],
        "runs": [{"prefix_types": ["none"]}, {"prompts": ["say_a"], "prefix_types": ["fixed", "mix"]}],
    },
    "evaluation": {"instructions": "questions.jsonl", "n": 4, "max_tokens": 6},
    "judges": {
        "vowel": {"kind": "lexical", "words": ["a", "e", "i", "o", "u"]},
        "digit": {"kind": "lexical", "words": ["1", "2", "3"]},
    },
}  # fmt: skip


def write_world(folder: Path, model: Path) -> None:
    """Write the folder; `model` is a model's directory."""
    lines = {
        "train.jsonl": [{"instruction": f"Question {i}?", "completion": f"Answer {i}."} for i in range(9)],
        "questions.jsonl": [{"instruction": f"What is {i}?"} for i in range(5)],
        "pools/say_a.jsonl": [{"text": f"Say a, {i}."} for i in range(3)],
        "pools/use_digits.jsonl": [{"text": f"Digits, {i}."} for i in range(3)],
        "pools/sky.jsonl": [{"text": f"Blue sky, {i}."} for i in range(3)],
        "import/tokens.jsonl": _token_rows(),
        "import/prefills.jsonl": _prefill_rows(),
        "labels.jsonl": [
            {
                "instruction": f"What is {i}?",
                "response": f"It is {i}.",
                "labels": {"Vowel": 10 * i, "Digit": i % 2 == 0},
            }
            for i in range(8)
        ],
        **{f"import/pools/{key}.jsonl": [{"rephrasing": f"{key}, {i}."} for i in range(4)] for key in PROMPTS},
    }
    for name, rows in lines.items():
        _write(folder / name, "".join(json.dumps(row) + "\n" for row in rows))
    study = json.loads(json.dumps(STUDY))
    study["model"]["id"] = str(model)
    _write(folder / "study.yaml", json.dumps(study, indent=1))
    for name, value in (("logprobs", _logprobs()), ("prompts", PROMPTS), ("elicitation", _elicitation()),
                        ("scores", _scores()), ("losses", _losses())):  # fmt: skip
        _write(folder / "import" / f"{name}.json", json.dumps(value))
    _write(folder / "rows.csv", _table())


def import_arguments(folder: Path, store: Path) -> list[str]:
    """The command that imports the folder's files."""
    place = folder / "import"
    named = [f"--{n}={place / n}.json" for n in ("prompts", "elicitation", "scores", "losses")]
    return ["import", str(place / "logprobs.json"), *named, f"--rephrasings={place / 'pools'}", f"--store={store}"]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _logprobs() -> dict[str, object]:
    rng = np.random.default_rng(1)

    def values(n: int) -> list[float]:
        return (-rng.gamma(2.0, size=n)).round(4).tolist()

    prompts = {
        key: {"prompt": p["text"], "lp_train_inoc": values(24), "lp_train_mix": values(24), "lp_ctrl_inoc": values(6)}
        for key, p in PROMPTS.items()
    }
    baseline = {"lp_train_default": values(24), "lp_ctrl_default": values(6)}
    return {"params": {"model": "m"}, "baseline": baseline, "prompts": prompts}


def _token_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for example in ("a", "b", "c"):
        for kind, key in (("none", ""), ("fixed", "de0"), ("mix", "de0")):
            rows.append({"prompt": key, "prefix_type": kind, "example_id": example, "token_ids": [1, 2, 3],
                         "logprobs": [-1.0, -0.5, -0.25], "text": PROMPTS["de0"]["text"] if key else ""})  # fmt: skip
    return rows


def _prefill_rows() -> list[dict[str, object]]:
    return [
        {"run": run, "checkpoint": step, "prefill": level, "behavior": "lies", "successes": level, "trials": 9,
         "question": f"Q{i}", "text": f"T{i}" if level else ""}
        for run in ("a", "b") for step in (0, 4) for level in (0, 2, 4) for i in range(2)
    ]  # fmt: skip


def _cells(rng: np.random.Generator, n: int) -> dict[str, object]:
    return {trait: {"values": rng.uniform(0, 100, n).round(2).tolist()} for trait in TRAITS}


def _elicitation() -> dict[str, object]:
    rng = np.random.default_rng(2)
    return {key: {"scores": _cells(rng, 5)} for key in ("neutral", *PROMPTS)}


def _scores() -> dict[str, object]:
    rng = np.random.default_rng(3)

    def steps() -> dict[str, object]:
        return {s: {"default": _cells(rng, 6), "training": _cells(rng, 6)} for s in ("0", "4", "8")}

    runs: dict[str, object] = {"no_inoculation": {"type": "fixed", "lr": 1e-4, "user_prefix": "", "steps": steps()}}
    for key, prompt in PROMPTS.items():
        runs[key] = {"type": "fixed", "lr": 1e-4, "user_prefix": prompt["text"], "steps": steps()}
        runs[f"{key}_mix"] = {"type": "mix", "lr": 1e-4, "rephrasings_key": key, "steps": steps()}
    return runs


def _losses() -> dict[str, object]:
    return {"de0": [{"step": i, "loss": 2.0 - i / 10, "learning_rate": 1e-4} for i in range(8)]}


def _table() -> str:
    rng = np.random.default_rng(4)
    text = "experiment,prompt,family,trait,prefix_type,suppression,control,ph,elicitation\n"
    for key, prompt in PROMPTS.items():
        for trait in TRAITS:
            for kind in ("fixed", "mix"):
                numbers = ",".join(f"{x:.3f}" for x in rng.normal(size=3))
                text += f"other,{key},{prompt['family']},{trait},{kind},{numbers.split(',')[0]},60,{numbers[6:]}\n"
    return text
