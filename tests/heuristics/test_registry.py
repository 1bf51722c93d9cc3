"""The registry, plugins through entry points, and the reference page."""

import inspect
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from make.heuristics import page as page_of

import inoc
from inoc.errors import BadInput
from inoc.heuristics import Absent, Heuristic, Intermediate, compute, find, heuristics
from inoc.heuristics.frame import registry
from inoc.heuristics.frame.declarations import EXPERIMENTAL, FAMILIES
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.frame.registry import computed
from inoc.heuristics.frame.resolve import closure
from inoc.store.runs import RunInfo

from ..command_line import with_path

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "plugins" / "heuristic_plugin"
NAMED = (
    "ph ppd gamma sigma snr mald ph_minus_ppd",
    "mean_abs abs_minus_signed mean_square mean_signed filtered top_quarter gradient filtered_gradient",
    "coherence loss_decay persistent strength_coherence effective_rank residual recovered",
    "pca svd svd_zsum",
    "ph_ratio variance_diff gamma_mix snr_mix cosine effective_rank_mix snr_ratio mald_ratio snr_abs_mix",
    "snr_abs_ratio ph_drop snr_drop spread_mean spread_std w_cor sign_agreement w_l2",
    "elicitation self_perplexity_raw self_perplexity_context rephrase_effective_rank distance_from_neutral",
    "cos_to_negative cos_to_positive composite",
)


def test_every_named_quantity_exists():
    assert not set(" ".join(NAMED).split()) - set(heuristics())
    symbols = {entry.symbol for entry in heuristics().values()}
    published = "H1 H3 H4 H5 H6 H7 H9a H9b H10 H11 H12 H13 H14 HA2 HA3 HA4 HA5 HB1 HB2 HB3 HB4 HB5 HB6"
    assert not set(published.split()) - symbols


@pytest.mark.parametrize("entry", list(heuristics().values()), ids=lambda entry: entry.name)
def test_every_heuristic_says_what_it_is(entry: Heuristic):
    assert entry.family in FAMILIES
    for variable in entry.variables():
        assert variable.long_name
        assert variable.formula
        assert variable.units
        assert variable.dims
        assert variable.counted().what in ("examples", "tokens", "prompts", "instructions")
        assert "{" not in f"{variable.name}{variable.long_name}{variable.formula}{variable.units}"


def test_every_input_and_intermediate_says_what_it_is():
    set_in_init = {"recipe", "prompts", "prefix_types", "traits", "completion_set", "left_out"}
    for name in Inputs.names() - set_in_init:
        assert getattr(Inputs, name).__doc__, name
    for name, made in computed().items():
        if isinstance(made, Intermediate):
            assert made.function.__doc__, name


def test_intermediates_are_computed_once(world, monkeypatch):
    calls: list[str] = []
    for name, made in list(computed().items()):
        if isinstance(made, Intermediate):

            def counted(*args, _made=made, **kwargs):
                calls.append(_made.name)
                return _made.function(*args, **kwargs)

            counted.__signature__ = inspect.signature(made.function)  # type: ignore[attr-defined]
            monkeypatch.setitem(registry._declared.intermediates, name, replace(made, function=counted))
    compute(inoc.open_store(world.path))
    assert sorted(calls) == sorted(set(calls))
    assert "gram" in calls
    calls.clear()
    compute(inoc.open_store(world.path), only=["ph"])
    assert calls == []


def test_the_reference_page_is_complete_and_fresh():
    page = (ROOT / "docs" / "heuristics.md").read_text()
    for name in (v.name for entry in registry.own() for v in entry.variables()):
        assert f"| `{name}` |" in page, f"{name} is not documented"
    assert page == page_of(registry.own()), "run `make docs`"


@pytest.mark.parametrize(
    ("wrong", "right"), [("gama", "gamma"), ("top_quater", "top_quarter"), ("HB22", "HB2"), ("PHH", "ph")]
)
def test_an_unknown_name_suggests_the_nearest(wrong, right):
    with pytest.raises(BadInput, match=f"unknown heuristic '{wrong}'.*did you mean '{right}") as error:
        find(wrong)
    assert error.value.exit_code == 2


def test_what_a_heuristic_leads_to_includes_what_its_n_counts():
    assert closure(["angle"]) >= {"angle", "gram", "svd_fit", "pca_fit", "n_prompts"}
    assert "n_prompts" not in closure(["gram"])
    assert closure([]) == set()


def test_symbols_are_names_too():
    assert find("HB1").name == "coherence"
    assert find("h4").name == "trait_token_svd"


def one(name: str, package: str) -> Heuristic:
    return Heuristic(name, "pointwise", "example", "x", "x", "1", lambda w: w, package=package)


def test_experimental_heuristics_are_a_package_of_their_own():
    one = find("ph")
    sources = [
        replace(one, package=package, family=family).source_package
        for package in ("inoc", "other")
        for family in (one.family, "experimental")
    ]
    assert sources == ["inoc", EXPERIMENTAL, "other", "other"]


def test_published_rows_need_prefix_types():
    wrong = replace(one("no_such_heuristic", "inoc"), dims=("prompt",), published_rows="fixed")
    with pytest.raises(BadInput, match="has published_rows and no dim prefix_type"):
        registry.register(wrong)


def test_two_packages_cannot_share_a_name():
    with pytest.raises(BadInput, match=r"'ph' of other has the name of one of inoc"):
        registry.register(one("ph", "other"))
    assert find("ph").package == "inoc"


def test_a_module_may_be_imported_again_and_no_other_function_take_the_name():
    """As a notebook does that reloads a plugin."""
    ph = find("ph")
    again = wraps(ph.function)(lambda w: ph.function(w))
    try:
        registry.register(replace(ph, function=again))
        assert find("ph").function is again
        again.__qualname__ = "other"
        with pytest.raises(BadInput, match=r"'ph' of inoc has the name of one of inoc"):
            registry.register(ph)
    finally:
        again.__qualname__ = ph.function.__qualname__
        registry.register(ph)
    assert find("ph") is ph


def test_needs_are_the_required_parameters():
    entry = Heuristic("x", "gap", "example", "x", "x", "1", lambda a, b, c=1: a, inputs={"b": "w_mix"})
    assert entry.needs() == {"a": "a", "b": "w_mix"}


# plugins, in a fresh process each: entry points are read once

SCRIPT = """
import json, sys, warnings
import inoc
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    store, only, engine = inoc.open_store(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]
    h = inoc.heuristics.compute(store, only=only, engine=engine)
print(json.dumps({"vars": {n: v.values.tolist() for n, v in h.data_vars.items()}, "absent": h.attrs["absent"],
                  "source": {n: v.attrs["source"] for n, v in h.data_vars.items()},
                  "warnings": [str(w.message) for w in seen]}))
"""


def run_with(plugin_path: Path, store: Path, only: str, engine: str = "numpy") -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(store), only, engine],
        capture_output=True,
        text=True,
        env=with_path(plugin_path),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The third-party package of tests/plugins, installed by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(PLUGIN, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*command, "--target", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def test_an_installed_package_adds_a_heuristic(installed, world):
    found = run_with(installed, world.path, "MED,skew,ph")
    assert found["warnings"] == []
    np.testing.assert_allclose(found["vars"]["median_difference"], np.median(world.w, axis=-1).T, rtol=1e-6)
    np.testing.assert_allclose(
        found["vars"]["skew"], np.array(found["vars"]["ph"]) - found["vars"]["median_difference"]
    )
    assert found["source"]["median_difference"] == "median_heuristics"


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_it_adds_a_token_term_a_row_term_and_reads_rows_and_runs(installed, world, engine):
    found = run_with(installed, world.path, "mean_root,median_token,first_token,n_runs", engine)
    assert found["warnings"] == []
    delta = (world.prefixed - world.default).astype(np.float64)
    expected = {
        "mean_root": np.sqrt(np.abs(delta)).mean(-1),
        "median_token": np.median(delta, axis=-1),
        "first_token": delta[..., np.cumsum(world.row_size) - world.row_size].mean(-1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found["vars"][name], values.T, rtol=1e-5, atol=1e-6, err_msg=name)
    assert found["absent"] == ["n_runs: the store holds no runs; `inoc train` adds them"]


def test_runs_are_an_input(world):
    class WithRuns(type(inoc.open_store(world.path))):
        runs: ClassVar = {"a": RunInfo("a", "positive_0", "fixed", seed=1), "b": RunInfo("b", "", "none")}

    assert [run.prompt for run in Inputs(WithRuns(world.path)).runs] == ["positive_0", ""]


def fake_package(place: Path, code: str, entry: str = "", name: str = "bad_package") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.py").write_text(code)
    info = place / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[inoc.heuristics]\n{name.removesuffix('_package')} = {entry or name}\n")
    return place


HEAD = "import numpy as np\nfrom inoc.heuristics import heuristic, token_mean, token_row\n"
MEANING = "family='pointwise', level='example', long_name='x', formula='x', units='1'"


def test_a_broken_plugin_warns_names_itself_and_is_left_out(tmp_path, world):
    place = fake_package(tmp_path, f"{HEAD}@heuristic({MEANING})\ndef half(w): ...\nraise RuntimeError('no luck')")
    found = run_with(place, world.path, "ph")
    assert set(found["vars"]) == {"ph", "ph_ci"}
    (message,) = found["warnings"]
    assert "'bad' of bad-package 1.0 cannot be loaded: RuntimeError: no luck" in message


@pytest.mark.parametrize(
    ("body", "reason"), [("return 1 / 0", "ZeroDivisionError"), ("return np.zeros(3)", "gave shape (3,)")]
)
def test_a_heuristic_that_fails_is_absent_with_a_warning(tmp_path, world, body, reason):
    place = fake_package(tmp_path, f"{HEAD}@heuristic({MEANING})\ndef mine(w):\n    {body}")
    found = run_with(place, world.path, "mine,ph")
    assert set(found["vars"]) == {"ph", "ph_ci"}
    assert reason in found["absent"][0]
    assert "'mine' is left out" in found["warnings"][0]
    assert "bad_package" in found["warnings"][0]


WRONG = [
    ("@heuristic({m})\ndef mine(tokn_gram): ...", "did you mean 'token_gram'?"),
    ("@heuristic({m}, dims=('prefix_types', 'prompt'))\ndef mine(w): ...", "did you mean 'prefix_type'?"),
    ("@heuristic({m}, dims=('prompt', 'prompt'))\ndef mine(w): ...", "has a dim twice"),
    ("@heuristic({m}, inputs=dict(w='statistics.move'))\ndef mine(w): ...", "did you mean 'moved'?"),
    ("@heuristic({m})\ndef mine(w): ...\n@heuristic({m}, name='mine')\ndef m(w): ...", "one of bad4_package"),
    ("@token_mean({t})\ndef mine(siz): return siz", "unknown part 'siz'. Fix: did you mean 'size'?"),
    ("@token_mean({t})\ndef mine(size): return 1 - size", "0 for a difference of 0"),
    ("@token_row({t})\ndef mine(delta, row_sizes): ...", "unknown part 'row_sizes'. Fix: did you mean 'row_size'?"),
]  # fmt: skip


def test_a_wrong_declaration_fails_at_registration(tmp_path, world):
    """One warning that names package, version and error; everything else is computed."""
    for i, (code, _) in enumerate(WRONG):
        code = code.replace("{m}", MEANING).replace("{t}", "long_name='x', formula='x', units='1'")
        fake_package(tmp_path, HEAD + code, name=f"bad{i}_package")
    found = run_with(tmp_path, world.path, "ph")
    assert set(found["vars"]) == {"ph", "ph_ci"}
    assert len(found["warnings"]) == len(WRONG)
    for i, (_, reason) in enumerate(WRONG):
        (message,) = (m for m in found["warnings"] if f"'bad{i}' of bad{i}-package 1.0 cannot be loaded: BadInput" in m)
        assert reason in message


def test_a_plugin_cannot_replace_inocs_own(tmp_path, world):
    place = fake_package(tmp_path, f"{HEAD}@heuristic({MEANING})\ndef ph(w): return w[..., 0] * 0 + 7")
    found = run_with(place, world.path, "ph")
    np.testing.assert_allclose(found["vars"]["ph"], world.w.mean(-1).T, rtol=1e-5)
    assert "has the name of one of inoc" in found["warnings"][0]


def test_an_entry_point_can_be_a_list(tmp_path, world):
    code = (
        "import numpy as np\nfrom inoc.heuristics import Heuristic\n"
        "many = [Heuristic('largest', 'pointwise', 'example', 'largest', 'max w', 'nats per token',"
        " lambda w: w.max(-1), package='bad_package')]"
    )
    found = run_with(fake_package(tmp_path, code, "bad_package:many"), world.path, "largest")
    np.testing.assert_allclose(found["vars"]["largest"], world.w.max(-1).T, rtol=1e-5)


def test_absent_is_not_an_error_of_inoc():
    assert not issubclass(Absent, BadInput)
