"""`inoc probe` on a tiny study: numbers against the backend asked by hand, resume after a kill, refusals, dry run."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run_inoc

import inoc
from inoc.backends.local import LocalBackend
from inoc.backends.probing import ProbeGroup, ProbeSpec
from inoc.errors import BackendRejected, BadInput, OtherSettings
from inoc.experiment import load_experiment
from inoc.heuristics.frame.table import compute
from inoc.plan import Study
from inoc.plan.probes import ProbeUnit, plan_probes
from inoc.stages.pipeline import run_study
from inoc.stages.probe import forecast_probes, probe
from inoc.stages.score import score
from inoc.store import StoreWriter
from inoc.store.validate import validate

from .conftest import STUDY, write_study

INSIDE = "inside: {examples: 5, seed: 1, rank: 4, dimension: 32, layers: [0, 2]}\n"
SETS = "  train: {path: train.jsonl}\n"
MORE = "".join(f"  {name}: {{path: train.jsonl, limit: {n}}}\n" for name, n in (("control", 4), ("negative", 6)))
TEXT = STUDY.replace(SETS, SETS + MORE) + INSIDE


def study_at(folder: Path, text: str = TEXT, store: str = "run.zarr") -> Study:
    path = folder / "study.yaml"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        write_study(folder, text)
    path.write_text(text)
    experiment = load_experiment(path)
    return Study(experiment, LocalBackend.from_spec(experiment.model_spec()), folder / store)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Scored and probed."""
    made = study_at(tmp_path_factory.mktemp("probed"))
    score(made)
    assert probe(made).probed == 12  # 3 probes x fixed and mix x 2 prompts
    return made


def content(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted((store / "probes").rglob("*")) if p.is_file()}


def test_what_is_stored_is_what_the_backend_says(study: Study) -> None:
    plan, backend, store = plan_probes(study), study.backend, inoc.open_store(study.store)
    assert isinstance(backend, LocalBackend)
    unit = next(unit for unit in plan.units if unit == ("mix", "use_digits"))
    group, spec = plan.group(unit), plan.spec("gradient")
    found = list(backend.probe(spec, [group], plan.references("gradient")))
    f, p = store.labels("probes/gradient/prefix_type").index("mix"), 1
    assert store.labels("probes/gradient/reference") == ("none", "negative")
    np.testing.assert_array_equal(store.read("probes/gradient/product")[f, p], found[-1].products)
    np.testing.assert_array_equal(store.read("probes/gradient/sketch")[f, p], found[-1].sketch)
    with_prompt, without = (
        next(iter(backend.probe(ProbeSpec("activation", (0, 2)), [g]))).values.astype(float)
        for g in (group, plan.default)
    )
    shift = with_prompt - without
    np.testing.assert_allclose(store.read("probes/activation/shift")[f, p], shift.mean(0), atol=1e-6)
    np.testing.assert_allclose(store.read("probes/activation/square_shift")[f, p], (shift**2).sum(-1).mean(0))
    logprobs = [next(iter(backend.probe(ProbeSpec("logits"), [g]))).logprobs for g in (group, plan.default)]
    one, other = (np.exp(values.astype(float)) for values in logprobs)
    kl = (one * np.log(one / other)).sum(-1)
    np.testing.assert_allclose(store.read("probes/logits/first_token_kl")[f, p], kl, atol=1e-6)
    assert (kl > 0).all()
    assert validate(study.store) == []


def test_the_pair_that_is_probed_is_the_pair_that_was_scored(study: Study) -> None:
    plan, store = plan_probes(study), inoc.open_store(study.store)
    ids = list(store.labels("completions/train/example_id"))
    row = store.token_logprobs("train").prompts.index("use_digits")
    picks = store.read("logprobs/train/rephrasing")[row]
    for example, probed in zip(plan.examples, plan.group(ProbeUnit("mix", "use_digits")).examples, strict=True):
        text = store.rephrasings["use_digits"][int(picks[ids.index(example.id)])]
        wanted = study.chat.training_example(example.id, example.instruction, example.completion, prefix=text)
        assert probed == wanted


def test_heuristics_follow_from_it(study: Study) -> None:
    names = ["gradient_cosine", "gradient_influence", "prompt_shift_projection", "prompt_shift_consistency"]
    table = compute(inoc.open_store(study.store), only=[*names, "first_token_kl"])
    assert table["gradient_cosine"].dims == ("prompt", "prefix_type")
    assert (np.abs(table["gradient_cosine"]) <= 1).all()
    assert table["layer"].values.tolist() == [0, 2]
    assert table["gradient_cosine"].attrs["n"] == 5
    assert any(line.startswith("gradient_influence: no gradient of the set 'positive'") for line in table.absent)


def test_a_second_call_does_nothing_and_new_prompts_are_added(study: Study, tmp_path: Path) -> None:
    before = content(study.store)
    assert probe(study) == type(probe(study))(0, 12)
    assert content(study.store) == before
    part = study_at(tmp_path / "part")
    score(part)
    assert probe(part, kinds=["gradient"], prompts=["say_a"], prefix_types=["fixed"]).probed == 1
    assert probe(part).probed == 11
    whole, grown = (inoc.open_store(s.store).read("probes/gradient/product") for s in (study, part))
    kinds = inoc.open_store(part.store).labels("probes/gradient/prefix_type")
    np.testing.assert_allclose(grown, whole[[("fixed", "mix").index(kind) for kind in kinds]], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("at", [0, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 11)), 5])
def test_killed_and_run_again_the_store_is_the_same_byte_for_byte(study: Study, tmp_path: Path, at: int) -> None:
    again = study_at(tmp_path / "killed")
    score(again)
    pid = os.fork()
    if pid == 0:
        right, seen = StoreWriter.put_probe, [0]

        def dies(self, *args, **kwargs) -> None:
            if seen[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen[0] += 1
            right(self, *args, **kwargs)

        StoreWriter.put_probe = dies  # type: ignore[method-assign]
        try:
            probe(again)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert not inoc.open_store(again.store).complete
    assert probe(again).probed == 12 - at
    assert content(again.store) == content(study.store)
    assert inoc.open_store(again.store).complete


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("examples: 5", "examples: 6"), "probes.gradient.sets.train"),
        (("seed: 1, rank: 4", "seed: 1, rank: 5"), "probes.gradient.rank"),
        (("limit: 6", "limit: 5"), "probes.gradient.sets.negative"),
        (("layers: [0, 2]", "layers: [0]"), "probes.activation.layers"),
    ],
)
def test_other_settings_are_refused_field_by_field_and_change_nothing(study: Study, change, said: str) -> None:
    folder, before = study.store.parent, content(study.store)
    with pytest.raises(OtherSettings, match=said):
        probe(study_at(folder, TEXT.replace(*change)))
    study_at(folder)
    assert content(study.store) == before


def test_a_pool_that_was_probed_with_is_kept(tmp_path: Path) -> None:
    study = study_at(tmp_path / "pool")
    probe(study, kinds=["logits"])
    (tmp_path / "pool" / "pools" / "say_a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    with pytest.raises(OtherSettings, match="say_a: the pool differs from the one it was probed with"):
        probe(study_at(tmp_path / "pool"), kinds=["logits"])


def test_a_backend_that_cannot_is_refused_in_one_sentence(study: Study, tmp_path: Path) -> None:
    class Scores(LocalBackend):
        name = "scores"
        capabilities = replace(LocalBackend.capabilities, probe=False)

    other = replace(study, backend=Scores.from_spec(study.experiment.model_spec()))
    for call in (probe, forecast_probes):
        with pytest.raises(BackendRejected, match=r"^the backend 'scores' cannot probe\. Fix: choose one that can"):
            call(other)
    with pytest.raises(BadInput, match="probe 'gradients'"):
        probe(study, kinds=["gradients"])


def test_the_dry_run_says_bytes_and_time_and_writes_nothing(study: Study, tmp_path: Path) -> None:
    fresh = study_at(tmp_path / "dry")
    forecast = forecast_probes(fresh)
    assert not fresh.store.exists()
    assert not fresh.work.exists()
    assert [(row.name, row.total, row.done) for row in forecast.rows] == [
        ("gradient", 4, 0), ("activation", 4, 0), ("logits", 4, 0),
    ]  # fmt: skip
    stored = sum(
        inoc.open_store(study.store).read(f"probes/gradient/{name}").nbytes
        for name in ("norm", "product", "sign_product", "sketch")
    )
    assert f"5 examples each, {stored / 1e6:,.1f} MB, about " in forecast.rows[0].detail
    assert all(row.tokens > 0 for row in forecast.rows)
    assert all(row.detail == "" and row.tokens == 0 for row in forecast_probes(study).rows)


def test_the_command(study: Study, tmp_path: Path) -> None:
    study_at(tmp_path / "cli")
    args = ["probe", str(tmp_path / "cli" / "study.yaml"), "--store", str(tmp_path / "cli.zarr")]
    code, out, _ = run_inoc(*args, "--dry-run")
    assert code == 0
    assert "gradient" in out
    assert not (tmp_path / "cli.zarr").exists()
    code, out, _ = run_inoc(*args, "--kind", "logits", "--prompts", "say_a")
    assert code == 0
    assert "2 units probed, 0 were stored already" in out
    assert "probed    logits 2 of 2 units" in run_inoc("info", tmp_path / "cli.zarr")[1]


def test_a_study_without_the_section_leaves_the_stage_out(tmp_path: Path) -> None:
    study = study_at(tmp_path / "none", STUDY)
    (done,) = run_study(study, ("probe",))
    assert done.what == "left out: the experiment has no `inside`"


def test_a_group_is_never_empty(study: Study) -> None:
    assert isinstance(study.backend, LocalBackend)
    with pytest.raises(BadInput, match="no example"):
        study.backend.probe(ProbeSpec("logits"), [ProbeGroup("g", ())])
