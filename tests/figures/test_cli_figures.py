"""`inoc figures`: what it writes, what it says about the rest, and its errors."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from inoc.cli import cli
from inoc.errors import BadInput, IncompleteStore, InocError
from inoc.figures import catalog


def call(*arguments):
    return CliRunner().invoke(cli, ["figures", *map(str, arguments)])


@pytest.mark.slow  # draws a whole family twice
def test_a_family_in_two_formats_and_the_captions(small, tmp_path):
    done = call("--store", small, "--out", tmp_path / "a", "--only", "leaks,elicitation", "--format", "svg,png")
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {f"{n}.{e}" for n in ("leaks", "leaks_by_probe", "elicitation") for e in ("svg", "png", "txt")}
    assert "n = " in (tmp_path / "a" / "elicitation.txt").read_text()
    call("--store", small, "--out", tmp_path / "b", "--only", "elicitation", "--format", "svg,png")
    for kind in ("svg", "png"):
        first, second = ((tmp_path / d / f"elicitation.{kind}").read_bytes() for d in "ab")
        assert first == second, "the same store gives the same bytes"


@pytest.mark.slow
def test_processes_draw_what_one_draws(small, misaligned, tmp_path):
    """In its order; names that are families, too, are drawn once; of several stores, each figure is together."""
    for stores in ([small], [small, misaligned]):
        said, drawn = list[str](), list[dict[str, bytes]]()
        for workers in (1, 3):
            place = tmp_path / f"{len(stores)}-{workers}"
            done = call(*stores, "--out", place, "--only", "leaks,elicitation,rates", "--workers", workers, "--json")
            assert done.exit_code == 0, done.output
            said.append(done.stdout.replace(str(place), ""))
            drawn.append({str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.*")})
        assert said[0] == said[1]
        assert drawn[0] == drawn[1]
        assert len(drawn[0]) > 5


def test_a_store_without_runs_says_one_line_on_each_it_cannot(misaligned, world, tmp_path):
    done = call("--store", misaligned, "--out", tmp_path, "--only", "rates,tokens,spectra", "--json")
    assert done.exit_code == 0, done.output
    records = {r["figure"]: r for r in json.loads(done.stdout)}
    assert records["rates"]["files"]
    lines = done.stderr.strip().splitlines()
    missing = [name for name, r in records.items() if not r["files"]]
    assert len(lines) == len(missing) == 10
    for name, line in zip(missing, lines, strict=True):
        assert line.startswith(f"{name}: not drawn: ")
        assert len(line) > 40


def test_errors(world, misaligned, tmp_path):
    for options, what in (
        (["--only", "angels"], "unknown figure or family 'angels'. Fix: did you mean 'angles'"),
        (["--format", "jpg"], "unknown format 'jpg'"),
        (["--heuristics", "phh"], "phh"),
    ):
        done = call("--store", world, "--out", tmp_path / "out", *options)
        assert isinstance(done.exception, BadInput)
        assert what in str(done.exception)
        assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("x")
    done = call("--store", world, "--out", tmp_path / "file", "--only", "losses")
    assert isinstance(done.exception, BadInput)
    done = call("--store", misaligned, "--out", tmp_path / "out", "--only", "tokens")
    assert isinstance(done.exception, IncompleteStore)
    assert not (tmp_path / "out").exists()


def test_chosen_small_multiples(world, tmp_path):
    done = call("--store", world, "--out", tmp_path, "--only", "scatter_suppression", "--heuristics", "H1,token_pca[2]")
    assert done.exit_code == 0, done.output
    caption = (tmp_path / "scatter_suppression.txt").read_text()
    assert "elicitation against" in caption
    assert "token_pca[2] against" in caption


def test_prompts_of_one_role_have_no_angle_to_the_other(one_role, tmp_path):
    done = call("--store", one_role, "--out", tmp_path, "--only", "cross_angle,cross_angle_tokens,losses")
    assert done.exit_code == 0, done.output
    lines = done.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["cross_angle", "cross_angle_tokens"]
    assert all("not drawn: no prompt has both" in line and "both roles" in line for line in lines)
    assert (tmp_path / "losses.png").exists()


def test_an_error_in_one_figure_costs_no_other(misaligned, tmp_path, monkeypatch):
    def broken(_):
        raise ValueError("zero-size array\nto reduction")

    good = next(e for e in catalog.entries() if e.name == "rates")
    bad = catalog.Entry("bad", "rates", "Fails.", broken)
    monkeypatch.setattr(catalog, "entries", lambda: (bad, good))
    done = call("--store", misaligned, "--out", tmp_path)
    assert (tmp_path / "rates.png").exists()
    assert done.stderr == "bad: not drawn: ValueError: zero-size array to reduction.\n"
    assert type(done.exception) is InocError
    assert done.exception.exit_code == 1
    assert str(done.exception).startswith("bad failed")


def test_names_cost_nothing_until_used():
    code = "import inoc, inoc.figures, sys; dir(inoc); print('matplotlib' in sys.modules, 'xarray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_unknown_name():
    import inoc

    with pytest.raises(AttributeError):
        inoc.plot_nothing


def test_a_wrong_registration_fails_where_it_is_written():
    catalog.entries()
    for name, family, says in (
        ("losses", "curves", "two figures are named 'losses'"),
        ("new", "curvs", "unknown figure family 'curvs'. Fix: did you mean 'curves'"),
    ):
        with pytest.raises(BadInput, match=says):
            catalog.figure(name, family, "Planted.")


def test_figures_are_in_the_order_of_families_then_names():
    found = [(catalog.FAMILIES.index(e.family), e.name) for e in catalog.entries()]
    assert found == sorted(found)
    assert {family for family, _ in found} == set(range(len(catalog.FAMILIES)))
