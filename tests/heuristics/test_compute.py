"""`inoc.heuristics.compute` on stores: labels, agreement with the bare functions, absences, subsets, recipes."""

import re
import warnings

import numpy as np
import pytest
import xarray as xr

import inoc
from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.registry import find, heuristics
from inoc.heuristics.frame.table import compute

from ..worlds import write_store
from .conftest import WORLD_SETS, write_world

CLOSE = dict(rtol=2e-5, atol=1e-6)


@pytest.fixture(scope="module")
def run(world):
    return inoc.open_store(world.path)


@pytest.fixture(scope="module")
def h(run) -> xr.Dataset:
    return compute(run)


def test_everything_but_the_unstored_pool_columns_is_there(h):
    missing = dict(line.split(": ", 1) for line in h.attrs["absent"])
    columns = {"rephrase_mean_cos", "rephrase_min_cos", "rephrase_effective_rank"}
    assert {name for name, why in missing.items() if "have no column" in why} == columns
    probed = {name for name, why in missing.items() if "`inoc probe` adds it" in why}
    assert probed == {e.name for e in heuristics().values() if e.level == "probe"}
    assert missing.keys() - columns - probed == {"pool_anchor"}
    assert {*h.data_vars, *missing} == {v.name for e in heuristics().values() for v in e.variables()}


def test_labels_and_meaning(h, world):
    assert h["prompt"].values.tolist() == list(world.prompts)
    assert h["prefix_type"].values.tolist() == ["fixed", "mix"]
    assert h["role"].values.tolist() == list(world.roles)
    assert h["completion_set"].values.tolist() == ["control", "positive", "negative"]
    assert h["trait"].values.tolist() == ["German", "Flattering"]
    assert h["bound"].values.tolist() == ["lower", "upper"]
    assert h["ph"].dims == ("prompt", "prefix_type")
    for name, variable in h.data_vars.items():
        for attr in ("long_name", "units", "formula", "recipe", "source", "n", "n_of", "nan"):
            assert attr in variable.attrs, f"{name} lacks {attr}"
        (declared,) = [v for v in find(str(name)).variables() if v.name == name]
        assert set(variable.dims) == set(declared.dims)
    assert h["ph"].attrs["n"] == WORLD_SETS["train"]
    assert h["mean_abs"].attrs["n"] == world.row_size.sum()
    assert h["elicitation"].attrs["n"] == [14, 15]
    assert h["coherence"].attrs["n"] == WORLD_SETS["train"]
    assert h["ppd"].attrs["n"] == [0, 9]  # other sets are scored with fixed only


def test_a_notebook_shows_the_table_in_under_50_kb(h, run):
    """Every heuristic once, after selections too; the prompts' texts are a coordinate."""
    shown = h._repr_html_()
    assert len(shown) < 50_000 < len(xr.Dataset._repr_html_(h))
    listed = set(re.findall(r"<tr><td>(\w+)</td>", shown))
    assert {"ph", "gamma", "coherence", "elicitation", "angle"} <= listed <= set(h.data_vars)
    assert h.isel(prompt=0)._repr_html_() != shown
    assert h["text"].dims == ("prompt",)
    assert h["text"].values.tolist() == run.prompts["text"].sel(prompt=h["prompt"]).values.tolist()


def test_the_table_becomes_a_dataframe(h):
    frame = h[["ph", "gamma", "coherence", "snr"]].to_dataframe()
    assert frame.shape[0] == 18
    assert frame.loc[("positive_0", "mix"), "ph"] == h["ph"].sel(prompt="positive_0", prefix_type="mix").item()
    assert len(h[["ph", "ph_drop", "elicitation"]].to_dataframe()) == 36


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_it_can_be_saved_and_read_again(h, tmp_path):
    h.to_zarr(tmp_path / "h.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "h.zarr", consolidated=False)
    np.testing.assert_array_equal(again["ph"].values, h["ph"].values)
    assert again["ph"].attrs["formula"] == "mean_k w"


def test_ph_of_another_set(run, h):
    control = compute(run, only=["ph", "mald"], completion_set="control")
    assert control["prefix_type"].values.tolist() == ["fixed"]
    expected = h["ppd"].sel(completion_set="control", prefix_type=["fixed"])
    np.testing.assert_allclose(control["mald"], expected)
    assert control.attrs["completion_set"] == "control"


def test_what_is_constant_by_construction_says_so(h):
    assert h["effective_rank_mix"].attrs["constant"] == [0, 1, 1]
    assert h["ph_drop"].attrs["constant"] == 0


def test_published_is_recorded(run, h):
    published = compute(run, recipe="published", only=["ph", "loss_decay"])
    assert published["ph"].attrs["recipe"] == published.attrs["recipe"] == "published"
    np.testing.assert_array_equal(published["ph"], h["ph"])


def test_order_of_prompts_in_the_store_does_not_matter(run, world):
    a = compute(run, prompts=list(world.prompts[::-1]))
    xr.testing.assert_identical(a, compute(run))


def test_one_prompt_and_one_prefix_type(world, run):
    one = compute(run, prompts=["negative_4"])
    assert one.sizes["prompt"] == 1
    assert np.isfinite(one["ph"]).all()
    assert one["svd_energy"].sel(component=1).values.tolist() == [1.0, 1.0]
    assert np.isnan(one["angle_category_mean"]).all()
    np.testing.assert_array_equal(one["pca"].isel(component=0), 0.0)


def test_only_computes_only_what_is_asked_for(run, monkeypatch):
    from inoc.heuristics.frame import inputs

    asked: list[object] = []
    real = inputs.token_statistics

    def spy(*args, terms, row_terms, recipe, **kwargs):
        asked.append(([t.name for t in terms], [t.name for t in row_terms], recipe))
        return real(*args, terms=terms, row_terms=row_terms, recipe=recipe, **kwargs)

    monkeypatch.setattr(inputs, "token_statistics", spy)
    found = compute(run, only=["ph", "gamma"])
    assert set(found.data_vars) == {"ph", "ph_ci", "gamma", "gamma_ci"}
    assert asked == [([], [], "corrected")]
    asked.clear()
    compute(run, only=["elicitation", "distance_from_neutral"])
    assert asked == []
    assert set(compute(run, only=["coherence", "ph"]).data_vars) == {"coherence", "n_examples", "ph", "ph_ci"}
    assert asked == [([], ["coherence"], "corrected")]
    asked.clear()
    compute(run, only=["HB5", "residual"], recipe="published")
    assert asked == [(["mean_abs", "loss_decay"], ["effective_rank"], "published")]


# stores that lack something


def absent(found: xr.Dataset) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in found.attrs["absent"])


def test_example_level_only(example_world):
    found = compute(inoc.open_store(example_world.path))
    reasons = absent(found)
    assert {"mean_abs", "coherence", "token_pca", "composite", "token_angle"} <= set(reasons)
    assert "stored as means over examples, without tokens" in reasons["coherence"]
    w = example_world.prefixed - example_world.default
    np.testing.assert_allclose(found["ph"].values, w.mean(-1).T)
    assert {"pca", "ph_ratio", "angle", "ppd", "trait_svd"} <= set(found.data_vars)


def test_without_roles_sets_elicitation_and_embeddings(tmp_path):
    skip = ("roles", "sets", "elicitation", "self_perplexity", "embeddings")
    found = compute(inoc.open_store(write_world(tmp_path / "w.zarr", skip=skip).path))
    reasons = absent(found)
    assert "no roles" in reasons["angle_to_negative"]
    assert "only train completions" in reasons["ppd"]
    assert "no elicitation" in reasons["elicitation"]
    assert "no self-perplexity" in reasons["self_perplexity_raw"]
    assert "no embeddings" in reasons["distance_from_neutral"]
    assert {"ph", "pca", "token_pca", "coherence", "ph_ratio", "angle"} <= set(found.data_vars)


def test_pending_units_are_missing_and_counted(tmp_path):
    from inoc.store.schema import ScoreInfo, Unit
    from inoc.store.writer import StoreWriter

    random = np.random.default_rng(0)
    path = tmp_path / "part.zarr"
    sizes = random.integers(2, 9, size=25)
    n = int(sizes.sum())
    with StoreWriter.open(
        path, identity={}, experiment={}, provenance={}, traits=(ScoreInfo("G", "positive", "g"),)
    ) as w:
        w.put_prompts([{"key": k, "text": k, "role": "positive", "family": "g"} for k in ("a", "b", "c", "d")])
        w.put_completions("train", example_ids=[str(i) for i in range(25)], row_size=sizes)
        w.plan("train", prefix_types=("fixed", "mix"), prompts=("a", "b", "c", "d"))
        w.put_default("train", -random.exponential(size=n).astype(np.float32))
        values = -random.exponential(size=(4, n)).astype(np.float32)
        values[1, :5] = np.nan
        for prompt, row in zip("abc", values, strict=False):
            w.put_unit(Unit("train", "fixed", prompt), row)
    run = inoc.open_store(path)
    found = compute(run)
    assert np.isnan(found["ph"].sel(prefix_type="mix")).all()
    assert np.isnan(found["ph"].sel(prompt="d")).all()
    for name in ("ph", "mean_abs", "top_quarter", "coherence", "pca", "token_pca", "token_svd"):
        values = found[name].sel(prompt=["a", "b", "c"], prefix_type="fixed")
        if "component" in values.dims:
            values = values.isel(component=slice(0, 2))
        assert np.isfinite(values).all(), name
        assert np.isnan(found[name].sel(prompt="d")).all(), name
    assert found["n_tokens"].sel(prompt="b", prefix_type="fixed").item() == n - 5
    text = " ".join(found.attrs["notes"])
    assert f"{5 * n + 5} of {8 * n} token differences are missing" in text
    assert "d (fixed) has no data" in text
    assert found["ph"].attrs["n"] == [0, 25]
    assert found["ph"].attrs["nan"] == 5
    alone = compute(run, prompts=["a", "b", "c"], only=["token_pca"])
    np.testing.assert_allclose(
        alone["token_pca"].sel(prefix_type="fixed"),
        compute(run, only=["token_pca"])["token_pca"].sel(prefix_type="fixed", prompt=["a", "b", "c"]),
        atol=1e-6,
    )


def test_prompts_of_the_coarser_level_are_left_out_and_named(tmp_path):
    from inoc.store.schema import Unit
    from inoc.store.writer import StoreWriter

    with StoreWriter.open(tmp_path / "both.zarr", identity={}, experiment={}, provenance={}) as writer:
        writer.put_prompts([{"key": key, "text": key} for key in ("a", "b")])
        writer.put_completions("train", example_ids=["0", "1", "2"], row_size=np.array([2, 1, 0]))
        for level, prompt, n in (("token", "a", 3), ("example", "b", 3)):
            writer.plan("train", prefix_types=("fixed",), prompts=(prompt,), level=level)
            writer.put_default("train", -np.ones(n), level)
            writer.put_unit(Unit("train", "fixed", prompt), -np.arange(n) / 2, level=level)
    found = compute(inoc.open_store(tmp_path / "both.zarr"), only="ph")
    assert found["prompt"].values.tolist() == ["a"]
    assert found["ph"].values.tolist() == [[(0.75 + 0.0) / 2]]  # an example without tokens has no difference
    assert "1 prompt is stored at example level only and left out: b." in found.attrs["notes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["gama"]}, "did you mean 'gamma'"),
        ({"prompts": ["positive_00"]}, "did you mean 'positive_0'"),
        ({"completion_set": "contol"}, "did you mean 'control'"),
    ],
)
def test_bad_input_is_one_clear_sentence(run, options, message):
    with pytest.raises(Exception, match=message) as error:
        compute(run, **options)
    if "engine" not in options and "recipe" not in options:  # these two are also caught by the type check of tests
        assert isinstance(error.value, BadInput)


def test_a_store_without_prompts(tmp_path):
    empty = write_store(tmp_path / "e.zarr", traits=())
    with pytest.raises(IncompleteStore, match="no prompts yet"):
        compute(inoc.open_store(empty))


def test_nothing_warns(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute(run)
        compute(run, prompts=["neutral_8"])


# differences


def test_difference_is_labeled_lazy_and_the_source_of_w(run, world):
    delta = inoc.difference(run, prefix_type="mix")
    assert delta.dims == ("prompt", "token")
    assert not delta.variable._in_memory
    np.testing.assert_array_equal(
        delta.sel(prompt="negative_3").isel(token=slice(4, 9)).values, (world.prefixed - world.default)[1, 3, 4:9]
    )
    assert not delta.variable._in_memory
    np.testing.assert_array_equal(delta.values, (world.prefixed - world.default)[1])
    assert delta.attrs["units"] == "nats"
    assert delta["position"].values[: world.row_size[0] + 1].tolist() == [*range(world.row_size[0]), 0]
    means = delta.astype(float).groupby("example").mean().sel(example="train-5")
    np.testing.assert_allclose(means, world.w[1, :, 5], atol=1e-6)
    w = inoc.difference(run, prefix_type="mix", level="example")
    np.testing.assert_allclose(w.values, world.w[1], **CLOSE)
    assert w.dims == ("prompt", "example")


def test_difference_says_what_the_store_has(run, example_world):
    with pytest.raises(BadInput, match="use one of fixed, mix"):
        inoc.difference(run, prefix_type="none")
    with pytest.raises(BadInput, match="train, control"):
        inoc.difference(run, completion_set="test")
    example = inoc.open_store(example_world.path)
    with pytest.raises(BadInput, match="without tokens"):
        inoc.difference(example, level="token")
    assert inoc.difference(example).dims == ("prompt", "example")
