"""Every way a plugin can fail: exit code, one sentence with package, version and error, and nothing else stops."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inoc import plugins
from inoc.backends.registry import BACKENDS
from inoc.experiment.datasets import DATASETS
from inoc.judge.registry import JUDGES
from inoc.stages.watchers import WATCHERS, Together
from inoc.store.imports.importers import IMPORTERS
from inoc.testing import small_store

from ..command_line import run_inoc
from ..study.conftest import STUDY, write_study
from .packages import install

REGISTRIES = (BACKENDS, JUDGES, IMPORTERS, DATASETS, WATCHERS)
Add = Callable[[str, str, dict[str, str]], None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Install a package into this process for one test."""
    site, before = tmp_path / "site", set(sys.modules)
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(plugins, "_loaded", {})

    def put(name: str, code: str, doors: dict[str, str]) -> None:
        install(site, name, code, doors, "2.3")
        for registry in REGISTRIES:
            registry.reset()

    yield put
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]
    monkeypatch.undo()
    for registry in REGISTRIES:
        registry.reset()


BROKEN = [
    ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
    ("raise ValueError('no \\x1b[2J luck\\nsecond line')", "ValueError: no \\x1b[2J luck"),
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("other = 1", "AttributeError: module 'bad' has no attribute 'thing'"),
    ("thing = 1", "TypeError: bad:thing is not a"),
]


@pytest.mark.parametrize(("code", "error"), BROKEN)
@pytest.mark.parametrize("door", ["judges", "importers", "datasets", "watchers"])
def test_one_that_cannot_be_loaded(add: Add, door: str, code: str, error: str) -> None:
    add("bad", code, {door: "x = bad:thing"})
    registry = next(registry for registry in REGISTRIES if registry.group == f"inoc.{door}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [registry.all() for _ in range(2)]
    assert all(set(names) == set(registry.names()) - {"x"} for names in found), "the others are there"
    (warning,) = (one for one in caught if one.category is not ResourceWarning)  # of what other tests left open
    assert f"'x' of bad 2.3 cannot be loaded: {error}" in str(warning.message)
    assert "Fix: repair or uninstall bad." in str(warning.message)
    with pytest.raises(plugins.BackendUnavailable) as refused:
        registry.get("x")
    assert refused.value.exit_code == 2


def test_a_broken_one_is_listed(add: Add) -> None:
    add("bad", "raise ValueError('no luck')", {"judges": "x = bad:thing", "importers": "y = bad:thing"})
    code, out, said = run_inoc("plugins")
    assert (code, said) == (0, "")
    assert "judges     x  (bad 2.3)  broken: ValueError: no luck\n" in out
    assert "importers  y  (bad 2.3)  broken: ValueError: no luck\n" in out


def study_with(folder: Path, old: str, new: str) -> Path:
    assert old in STUDY
    return write_study(folder / "study", STUDY.replace(old, new))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    return tmp_path


JUDGE = """
from dataclasses import dataclass
from inoc.judge import Judgment
from inoc.options import read_options
@dataclass
class Options:
    word: str = "a"
class Counting:
    identity = "counting"
    def judge(self, requests):
        raise RuntimeError("no luck")
def make(trait, options):
    read_options(Options, "the judge mine", options)
    return Counting()
"""
VOWEL = "vowel: {kind: lexical, words: [a, e, i, o, u]}"


def test_a_wrong_option_of_a_judge_is_found_by_check(add: Add, folder: Path) -> None:
    add("mine", JUDGE, {"judges": "mine = mine:make"})
    path = study_with(folder, VOWEL, "vowel: {kind: plugin, name: mine, options: {wrod: b}}")
    code, out, _ = run_inoc("check", path)
    assert code == 2
    assert "unknown option of the judge mine 'wrod'. Fix: did you mean 'word'?" in out
    path.write_text(path.read_text().replace("wrod", "word"))
    assert run_inoc("check", path)[0] == 0


def test_a_judge_that_fails_at_work_is_named(add: Add, folder: Path) -> None:
    add("mine", JUDGE, {"judges": "mine = mine:make"})
    path = study_with(folder, VOWEL, "vowel: {kind: plugin, name: mine}")
    code, _, said = run_inoc("elicit", path, "--store", folder / "s.zarr")
    assert code == 1
    assert "Counting.judge of the plugin mine 2.3 failed (RuntimeError: no luck). Its traceback is in " in said


def test_code_in_a_file_runs_only_where_its_module_is_allowed(
    add: Add, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study file of somebody else imports nothing."""
    add("mine", "print('imported')\n" + JUDGE, {})
    monkeypatch.delenv("INOC_MODULES", raising=False)
    path = study_with(folder, VOWEL, "vowel: {kind: plugin, name: 'mine:make'}")
    refusal = "names code, the module 'mine'. Fix: if you trust that module, set INOC_MODULES=mine and try again."
    for command in (["check"], ["elicit", "--store", folder / "s.zarr"]):
        code, out, said = run_inoc(command[0], path, *command[1:])
        assert code == 2
        assert refusal in out + said
        assert "imported" not in out
        assert "mine" not in sys.modules
    monkeypatch.setenv("INOC_MODULES", "other,mine")
    assert run_inoc("check", path)[0] == 0


@pytest.mark.parametrize(
    "name", ["backend: {name: 'mine:B'}", "completion_sets: {control: {dataset: {name: 'mine:rows:x'}}}"]
)
def test_every_place_of_a_file_that_names_code(
    add: Add, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INOC_MODULES", raising=False)
    add("mine", "raise SystemExit('imported')", {})
    text = STUDY.replace("completion_sets:\n  train: {path: train.jsonl}", "") if "sets" in name else STUDY
    path = write_study(folder / "study", text + name.replace("{control", "{train: {path: train.jsonl}, control") + "\n")
    code, out, _ = run_inoc("check", path)
    assert code == 2
    assert "names code, the module 'mine'" in out
    assert "mine" not in sys.modules


def test_versions_of_plugins_are_in_the_provenance(add: Add, folder: Path) -> None:
    from inoc.store import open_store

    good = JUDGE.replace('raise RuntimeError("no luck")', "return [Judgment(r.id, 50.0, 1.0) for r in requests]")
    add("mine", good, {"judges": "mine = mine:make"})
    path = study_with(folder, VOWEL, "vowel: {kind: plugin, name: mine}")
    assert run_inoc("elicit", path, "--store", folder / "s.zarr")[0] == 0
    assert open_store(folder / "s.zarr").provenance["plugins"] == {"mine": "2.3"}


IMPORTER = """
from inoc.store.imports import LogprobRow
class Mine:
    def sniff(self, paths):
        {sniff}
    def read(self, paths):
        {read}
"""
ROWS = "yield from (LogprobRow('a', [-1.0 - k], 'p' * k, ('none', 'fixed')[k], mean=True) for k in (0, 1))"


def test_an_importer_is_asked_after_inocs_own(add: Add, tmp_path: Path) -> None:
    """Also one that claims every file."""
    add("mine", IMPORTER.format(sniff="return True", read=ROWS), {"importers": "mine = mine:Mine"})
    (tmp_path / "a.json").write_text(
        '{"baseline": {"lp_train_default": [-2.0]}, "prompts": {"q": {"lp_train_inoc": [-1.0]}}}'
    )
    (tmp_path / "b.txt").write_text("something else")
    code, _, said = run_inoc("import", tmp_path / "a.json", "--store", tmp_path / "a.zarr")
    assert code == 0, said
    from inoc.store import open_store

    assert list(open_store(tmp_path / "a.zarr").prompts["prompt"].values) == ["q"]
    assert run_inoc("import", tmp_path / "b.txt", "--store", tmp_path / "b.zarr")[0] == 0
    made = open_store(tmp_path / "b.zarr")
    assert list(made.prompts["prompt"].values) == ["p"]
    assert made.provenance["plugins"] == {"mine": "2.3"}


@pytest.mark.filterwarnings("ignore:importer 'mine'")
def test_an_importer_that_fails(add: Add, tmp_path: Path) -> None:
    add("mine", IMPORTER.format(sniff="raise OSError('no')", read="raise RuntimeError('no luck')"),
        {"importers": "mine = mine:Mine"})  # fmt: skip
    (tmp_path / "b.json").write_text("{}")
    with pytest.warns(
        RuntimeWarning, match=r"importer 'mine' of mine 2.3 failed while it looked at a file: OSError: no"
    ):
        code, _, said = run_inoc("import", tmp_path / "b.json", "--store", tmp_path / "b.zarr")
    assert code == 2
    assert said.splitlines()[-1] == f"inoc: {tmp_path / 'b.json'}: no key 'baseline'. Fix: add it."
    code, _, said = run_inoc("import", tmp_path / "b.json", "--store", tmp_path / "b.zarr", "--format", "mine")
    assert code == 1
    assert "Mine.read of the plugin mine 2.3 failed (RuntimeError: no luck)" in said
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("LogprobRow('a', [1.0])", "index 0 is 1, which is above 0"),
        ("LogprobRow('a', [-1.0], 'p', 'other')", "prefix_type 'other'"),
        ("LogprobRow('a', [-1.0], '', 'fixed')", "has no prompt"),
        ("LogprobRow('a', [-1.0, -2.0], token_ids=[1])", "has 2 values; 1 are needed"),
        ("LogprobRow('a', [-1.0], 'p', 'fixed')", "has no baseline rows"),
    ],
)
def test_rows_that_are_wrong(add: Add, tmp_path: Path, row: str, says: str) -> None:
    add("mine", IMPORTER.format(sniff="return True", read=f"yield {row}"), {})
    (tmp_path / "b.txt").write_text("x")
    code, _, said = run_inoc("import", tmp_path / "b.txt", "--store", tmp_path / "b.zarr", "--format", "mine:Mine")
    assert code == 2
    assert says in said.splitlines()[-1]
    assert said.count("inoc: ") == 1


def test_a_name_that_is_no_plugin(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("x")
    for words, says in (
        (["--format", "lm_evl"], "unknown importer 'lm_evl'. Fix: did you mean 'lm_eval'?"),
        (["--format", "no_such:Thing"], "importer 'no_such:Thing' of no_such cannot be loaded: ModuleNotFoundError"),
        (["--format", "lm_eval", "--option", "tak=x"], "unknown option of the importer lm_eval 'tak'. Fix: did you"),
        (["--option", "a=b"], "--option is for an importer that is named"),
    ):
        code, _, said = run_inoc("import", tmp_path / "b.txt", "--store", tmp_path / "b.zarr", *words)
        assert code == 2, said
        assert says in said


def test_a_data_set_of_a_plugin(add: Add, folder: Path) -> None:
    from inoc.experiment import load_experiment, read_completions
    from inoc.stages.datasets import from_dataset

    add("mine", "def rows(spec, *, split, revision):\n    return [{'instruction': spec, 'completion': split}]",
        {"datasets": "mine = mine:rows"})  # fmt: skip
    path = study_with(folder, "train: {path: train.jsonl}", "train: {dataset: {name: 'mine:a:b', split: s}}")
    experiment = load_experiment(path)
    source = experiment.completion_sets.train.dataset
    assert source is not None
    made = from_dataset(experiment, "train", source)
    assert [(row.instruction, row.completion) for row in read_completions(made.path)] == [("a:b", "s")]
    assert '"mine": "2.3"' in made.path.with_suffix(".made.json").read_text()


def test_a_watcher_that_fails_is_left_out_and_the_work_goes_on(add: Add) -> None:
    code = "class W:\n    def __init__(self, spec): self.n = 0\n    def begin(self, *a): ...\n    advance = begin\n"
    code += "    step = note = begin\n    def measure(self, *a): raise OSError('gone')\n    def close(self): ...\n"
    add("mine", code, {"watchers": "mine = mine:W"})
    together = Together(["mine=x"])
    with pytest.warns(RuntimeWarning, match=r"watcher 'mine=x' failed and is left out: OSError: gone"):
        together.measure("run", 1, {"loss": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together.measure("run", 2, {"loss": 1.0})


FIGURE = """
import matplotlib.pyplot as plt
from inoc.figures import figure
@figure("mine_bars", "scatter", "Bars <b>bold</b>.")
def bars(source):
    shown, axes = plt.subplots(figsize=(3, 2))
    axes.bar([0, 1], [1, 2])
    return shown
@figure("mine_broken", "scatter", "Breaks.")
def broken(source):
    raise RuntimeError("no luck")
"""


@pytest.fixture
def figures(add: Add, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a figure that is drawn and one that fails."""
    from inoc.figures import catalog

    catalog.entries()
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    add("mine", FIGURE, {"figures": "mine = mine"})
    catalog.PLUGINS.reset()
    yield
    monkeypatch.undo()
    catalog.PLUGINS.reset()


def test_a_figure_that_fails_costs_no_other_and_names_its_package(figures: None, tmp_path: Path) -> None:
    store = small_store(tmp_path / "s.zarr").path
    words = ["--store", store, "--out", tmp_path / "out", "--only", "mine_bars,mine_broken"]
    code, out, said = run_inoc("figures", *words)
    assert code == 1
    assert out == f"{tmp_path / 'out' / 'mine_bars.png'}\n"
    assert said.splitlines() == [
        "mine_broken: not drawn: RuntimeError: no luck.",
        "inoc: mine_broken failed because of an error in mine 2.3. Fix: report the lines above.",
    ]


def test_the_report_shows_figures_of_plugins(figures: None, tmp_path: Path) -> None:
    from inoc.report import build_report, page

    report = build_report(small_store(tmp_path / "s.zarr"))
    bars, broken = report.figures
    assert (bars.name, bars.package, bars.reason) == ("mine_bars", "mine 2.3", "")
    assert bars.picture.startswith("data:image/png;base64,iVBOR")
    assert (broken.picture, broken.reason) == ("", "RuntimeError: no luck")
    text = page(report)
    assert bars.picture in text
    assert "<b>bold" not in text
