"""From a table of counts to a store and back; `inoc emergence`; every bad table is one sentence and writes nothing."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import inoc
from inoc import emergence
from inoc.cli import cli
from inoc.errors import BadInput
from inoc.store.imports import Sources, import_run
from inoc.store.imports.prefills import read_prefill_counts
from inoc.store.validate import validate

HEAD = ("run", "checkpoint", "prefill", "behavior", "successes", "trials", "mean_neg_kl", "surprisal")


def rows_of(table):
    return [
        [*(str(table[n].values[k]) for n in ("run",)), c, p, str(table["behavior"].values[k]),
         *(table[name].values[k, i, j].item() for name in ("successes", "trials", "neg_kl", "surprisal"))]
        for k in range(table.sizes["case"])
        for i, c in enumerate(table["checkpoint"].values.tolist())
        for j, p in enumerate(table["prefill"].values.tolist())
    ]  # fmt: skip


def write(path, rows, head=HEAD):
    if path.suffix == ".json":
        path.write_text(json.dumps({"rows": [dict(zip(head, row, strict=True)) for row in rows]}))
        return path
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture(scope="module")
def table():
    return emergence.simulate(0).isel(case=[0, 1, 15], checkpoint=[0, 1, 3], prefill=[0, 2, 5])


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_a_table_survives_the_store(table, tmp_path, name):
    path = write(tmp_path / name, rows_of(table))
    import_run(Sources((), prefills=path, prefills_from="run"), tmp_path / "s.zarr")
    assert validate(tmp_path / "s.zarr") == []
    store = inoc.open_store(tmp_path / "s.zarr")
    found = emergence.cases(store.emergence)
    for variable in ("successes", "trials", "neg_kl", "surprisal"):
        assert np.allclose(found[variable], table[variable])
    assert store.emergence["rising-0"].attrs["source"] == "run"


def test_the_origin_must_be_said(table, tmp_path):
    path = write(tmp_path / "t.csv", rows_of(table))
    with pytest.raises(BadInput, match="--prefills-from"):
        import_run(Sources((), prefills=path), tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def changed(rows, row, column, value):
    out = [list(r) for r in rows]
    out[row][HEAD.index(column)] = value
    return out


BAD = {
    "more successes than trials": lambda rows: changed(rows, 0, "successes", 91),
    "a negative surprisal": lambda rows: changed(rows, 1, "surprisal", -0.5),
    "an infinite surprisal": lambda rows: changed(rows, 1, "mean_neg_kl", "inf"),
    "comes twice": lambda rows: [*rows[:2], rows[1], *rows[2:]],
    "comes after": lambda rows: [*rows[1:], rows[0]],
    "one checkpoint only": lambda rows: [row for row in rows if row[1] == 1],
    "a number is needed": lambda rows: changed(rows, 1, "surprisal", "much"),
    "a whole number is needed": lambda rows: changed(rows, 1, "trials", "9.5"),
    "no key 'run'": lambda rows: changed(rows, 0, "run", ""),
    "has no rows": lambda rows: [],
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_tables(table, tmp_path, sentence):
    path = write(tmp_path / "t.csv", BAD[sentence](rows_of(table)))
    with pytest.raises(BadInput, match=sentence) as error:
        read_prefill_counts(path, "run")
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_command(table, tmp_path):
    path = write(tmp_path / "t.csv", rows_of(table))
    place = str(tmp_path / "s.zarr")
    run = CliRunner()
    done = run.invoke(cli, ["import", "--store", place, "--prefills", str(path), "--prefills-from", "run"])
    assert done.exit_code == 0, done.output
    shown = run.invoke(cli, ["emergence", place])
    assert shown.exit_code == 0, shown.output
    assert "forecast of update 8 from 3 checkpoints" in shown.output
    document = json.loads(run.invoke(cli, ["emergence", place, "--json", "--run", "rising-0"]).output)
    (row,) = document["behaviors"]
    assert set(row["estimates"]) == {"importance", "jensen", "distinct_texts"}
    assert row["forecast"]["lower"] < row["forecast"]["rate"] < row["forecast"]["upper"]
    assert document["auc"] == []
    assert "did you mean" in str(run.invoke(cli, ["emergence", place, "--run", "rising-O"]).exception)


def test_estimates_follow_the_origin(table, tmp_path):
    path = write(tmp_path / "t.csv", rows_of(table))
    found = {}
    for source in ("file", "run", "self"):
        import_run(Sources((), prefills=path, prefills_from=source), tmp_path / f"{source}.zarr")
        counts = inoc.open_store(tmp_path / f"{source}.zarr").emergence["rising-0"]
        found[source] = emergence.estimate(counts)
    assert list(found["self"]["estimator"]) == ["own_prefills"]
    assert np.isnan(found["self"]["bound"]).all()
    bound = emergence.metrics(table)["log_exploit_lower_bound"].values[0]
    assert found["file"]["bound"].values[:, 0] == pytest.approx(bound)
    assert (found["file"]["bound_level"].values >= 0).all()
