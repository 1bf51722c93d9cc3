"""The page as a file: what travels in it, how large it is, what it may run, what is refused."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from inoc.cli.report import report as command
from inoc.errors import BadInput
from inoc.report import Report, build_report, write_report
from inoc.report.answers import AnswerView
from inoc.report.decode import agrees, load_tokenizer, pieces
from inoc.report.emergence import EmergenceRows
from inoc.report.html import SCRIPTS, json_block, page, sha256
from inoc.report.outcomes import Outcomes
from inoc.report.tokens import BUDGET, MOST_EXAMPLES, PER_VALUE, UNIT, choose
from inoc.store import PromptInfo, open_store

from ..worlds import Completions, write_store

PROMPTS = [PromptInfo("german", "Answer in German.", "de", "german", "positive")]
EMPTY = Outcomes([], [], [], [], [], [], "")


@settings(deadline=None, max_examples=50)
@given(st.text() | st.sampled_from(["</script>", "<!--", "&lt;", "\u2028\u2029", "]]>"]))
def test_data_block_cannot_leave_its_element(text):
    report = Report(
        text,
        text,
        [],
        [],
        [],
        [text],
        [text],
        [],
        None,
        EMPTY,
        None,
        text,
        EmergenceRows([], ""),
        AnswerView([], [], [], [], [], ""),
        [],
        None,
        [],
    )
    block = json_block(report)
    assert not set(block) & set("<>&\u2028\u2029")
    assert json.loads(block)["title"] == text
    assert json.loads(block)["row_prompt"] == [text]


def test_policy_admits_own_style_and_script_only(hostile_report):
    page = hostile_report.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    style = re.search(r"<style>(.*?)</style>", page, re.S).group(1)
    script = re.search(r"<script>(.*?)</script>", page, re.S).group(1)
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["style-src"] == [f"'{sha256(style)}'"]
    assert rules["script-src"] == [f"'{sha256(script)}'"]
    assert rules["img-src"] == ["data:"]
    assert len(re.findall(r"<script", page)) == 2  # data and code
    sections = set(re.findall(r'<section id="(\w+)"', page))
    body = page.replace(script, "")
    assert set(re.findall(r'(?:src|href)="([^"]*)"', body)) == {f"#{name}" for name in sections}


def test_script_writes_text_nodes_only():
    """No way from data to markup or code."""
    for name in SCRIPTS:
        source = files("inoc.report").joinpath("assets", name).read_text(encoding="utf-8")
        assert len(source.splitlines()) < 300
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert word not in source, f"{name}: {word}"
        assert ("fetch(" in source) == (name == "page.js")  # what `inoc view` asks its server


@pytest.mark.slow  # the report of a large store takes as long as all the others
def test_size_of_48_prompts_and_1000_examples(wide_report):
    assert wide_report.stat().st_size < 5_000_000
    page = wide_report.read_text()
    shown = len(json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))["tokens"]["examples"])
    assert 8 <= shown < 1000
    assert f"{shown} of 1000 examples are in this page, drawn at random (seed 0)" in page


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 512), min_size=1, max_size=300), st.integers(1, 500), st.integers(0, 5))
def test_sample_fits_its_budget(sizes, units, seed):
    sizes = np.array(sizes)
    chosen = choose(sizes, units, seed)
    assert chosen == sorted(set(chosen)) == choose(sizes, units, seed)
    assert len(chosen) <= MOST_EXAMPLES
    assert sizes[chosen].sum() * units * PER_VALUE <= BUDGET
    assert all(sizes[k] > 0 for k in chosen)


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_pieces_are_the_text(tokenizer_file, text):
    tokenizer = load_tokenizer(tokenizer_file)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    found = pieces(tokenizer, ids)
    assert len(found) == len(ids)
    assert "".join(found) == text
    assert agrees(found, text)


def test_values_are_those_of_the_store(hostile, tokenizer_file):
    store = open_store(hostile)
    report = build_report(store, tokenizer=tokenizer_file)
    view = report.tokens
    arrays = store.token_logprobs()
    starts = np.concatenate([[0], np.cumsum(arrays.row_size)])
    for e, example in enumerate(view.examples):
        k = arrays.example_ids.index(example.example_id)
        span = slice(starts[k], starts[k + 1])
        assert "".join(example.texts) == example.completion
        for f, p in np.argwhere(arrays.done):
            shown = [np.nan if v is None else v / UNIT for v in view.prefixed[f][p][e]]
            np.testing.assert_allclose(shown, arrays.prefixed[f, p, span], atol=0.5 / UNIT + 1e-6)
    assert view.prefixed[1][3] is None  # pending
    assert "1 unit of train" in str(report.missing)


def test_tokenizer_that_made_other_tokens(hostile, tokenizer_file, tmp_path):
    raw = json.loads(tokenizer_file.read_text())
    vocabulary = raw["model"]["vocab"]
    raw["model"]["vocab"] = dict(zip(vocabulary, reversed(vocabulary.values()), strict=True))
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    view = build_report(open_store(hostile), tokenizer=tmp_path).tokens
    assert all(example.texts is None and example.token_ids for example in view.examples)
    assert "other tokens than its own" in " ".join(view.notes)


def test_store_without_logprobs(tmp_path):
    """A report of nothing but prompts says what is missing instead of failing."""
    store = write_store(tmp_path / "store.zarr", PROMPTS, traits=())
    written = write_report(open_store(store), tmp_path / "report.html")
    titles = {fact.title for fact in written.report.missing}
    assert {"No heuristics", "No outcomes", "No token viewer"} <= titles
    assert written.report.columns == []


def test_example_level_store(tmp_path):
    prefixed = {("fixed", PROMPTS[0].key): np.array([-0.5, -1.0, -3.0])}
    train = Completions(None, np.array([-1.0, -2.0, -3.0]), prefixed)
    store = write_store(tmp_path / "store.zarr", PROMPTS, {"train": train}, level="example", traits=())
    made = build_report(open_store(store))
    assert made.tokens is None
    ph = next(column for column in made.columns if column.name == "ph")
    assert ph.values == [0.5]
    assert ph.low is not None


def test_same_store_same_bytes(hostile, hostile_report, tokenizer_file, tmp_path):
    write_report(open_store(hostile), tmp_path / "again.html", tokenizer=tokenizer_file)
    assert (tmp_path / "again.html").read_bytes() == hostile_report.read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"completion_set": "other"}, "unknown completion set 'other'. Fix: use one of train"),
        ({"tokenizer": "nowhere"}, "has no tokenizer.json"),
        ({"recipe": "mine"}, "unknown recipe 'mine'"),
    ],
)
def test_bad_input_writes_nothing(hostile, tmp_path, options, says):
    if "tokenizer" in options:
        options = {"tokenizer": tmp_path / options["tokenizer"]}
    with pytest.raises(BadInput, match=says):
        write_report(open_store(hostile), tmp_path / "report.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_bad_places(hostile, tmp_path):
    with pytest.raises(BadInput, match="is a directory"):
        write_report(open_store(hostile), tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        write_report(open_store(hostile), tmp_path / "no" / "report.html")


def test_command(hostile, tokenizer_file, tmp_path):
    page = tmp_path / "report.html"
    arguments = ["--store", str(hostile), "-o", str(page), "--tokenizer", str(tokenizer_file)]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{page}  0.")
    assert "All 5 examples are in this page." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_rare_behaviors_are_on_the_page(tmp_path):
    from ..figures.worlds import write_emergence

    store = open_store(write_emergence(tmp_path / "emergence.zarr", every=8))
    report = build_report(store)
    text = page(report)
    assert 'id="emergence"' in text
    assert "rising-0" in text
    assert "at update 256" in text
    assert len(report.emergence.rows) == 2


def test_a_notebook_shows_a_hostile_store_escaped(hostile):
    shown = open_store(hostile)._repr_html_()
    assert "a&lt;b&gt;" in shown
    assert "4 prompts x 5 examples, fixed, mix" in shown
    assert set(re.findall(r"</?(\w+)", shown)) == {"table", "caption", "tr", "th", "td"}
    assert len(shown) < 5_000
