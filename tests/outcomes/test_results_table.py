"""A pooled results table: read as rows, written and read back, every wrong cell named by line."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from inoc.cli import main
from inoc.errors import BadInput
from inoc.outcomes import performance_of, pooled, read_rows, rows_csv

from .worlds import published_rows

PUBLISHED = (
    "experiment,prompt_key,prompt_text,prompt_group,prompt_family,trait_role,trait_name,prefix_type,elicitation,ph,"
    "ph_combined,ph_mix_all,suppression,suppression_ci_lo,no_inoc_score,inoc_score,n_eval,h13_mean_sq_diff,"
    "h13_mean_sq_diff_mix,w_cos,pc1\n"
)


def published_layout(prompts: int = 10) -> str:
    """A made-up table in the published layout: two traits, both prefix types, some prompts without a run."""
    rng = np.random.default_rng(0)
    text = PUBLISHED
    for p in range(prompts):
        family = ("german", "flattering", "neutral")[p % 3]
        for trait, role in (("German", "positive"), ("Flattering", "negative")):
            for kind in ("fixed", "mix"):
                numbers = [f"{x:.6f}" for x in rng.normal(size=7)]
                held = "" if p == 4 else f"{p + (10 if kind == 'fixed' else 3):.2f}"
                text += (
                    f'lab,key{p},"Say ""hi"", {p}",g,{family},{role},{trait},{kind},{numbers[0]},,{numbers[1]},'
                    f"{numbers[2]},{held},,{80 if trait == 'German' else 40},,200,{numbers[3]},{numbers[4]},"
                    f"{numbers[5]},{numbers[6]}\n"
                )
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(published_layout())
    return path


def cell(table: xr.Dataset, prompt: str, trait: str, kind: str) -> xr.Dataset:
    found = (table["prompt"] == prompt) & (table["trait"] == trait) & (table["prefix_type"] == kind)
    return table.isel(row=int(np.flatnonzero(found.values)[0]))


def test_the_published_layout(file: Path) -> None:
    table = read_rows(file)
    lines = list(csv.DictReader(io.StringIO(published_layout())))
    assert table.sizes["row"] == len(lines) == 40
    names = table["heuristic"].values.tolist()
    assert set(names) == {"elicitation", "ph", "mean_square", "cosine", "pc1"}
    for i, line in enumerate(lines):
        row = table.isel(row=i)
        assert row["prompt"].item() == line["prompt_key"]
        mix = line["prefix_type"] == "mix"
        for name, column in (("ph", "ph_mix_all" if mix else "ph_combined"), ("pc1", "pc1"),
                             ("mean_square", "h13_mean_sq_diff_mix" if mix else "h13_mean_sq_diff")):  # fmt: skip
            assert row["heuristic_value"].sel(heuristic=name).item() == float(line[column])
        family, trait = line["prompt_family"], line["trait_name"].lower()
        assert row["on_target"].item() == (family in ("neutral", trait))
    fixed, mix = cell(table, "key3", "German", "fixed"), cell(table, "key3", "German", "mix")
    assert fixed["suppression"].item() == 13.0
    assert fixed["gap"].item() == mix["gap"].item() == 7.0
    assert fixed["cross"].item() == cell(table, "key3", "Flattering", "fixed")["suppression"].item()
    assert (fixed["control"].item(), fixed["cross_control"].item()) == (80.0, 40.0)
    assert np.isnan(cell(table, "key4", "German", "mix")["gap"].item())


def test_what_is_written_is_read_back(file: Path, tmp_path: Path) -> None:
    table = read_rows(file)
    again = tmp_path / "again.csv"
    again.write_text(rows_csv(table))
    xr.testing.assert_identical(read_rows(again).drop_attrs(), table.drop_attrs())
    assert rows_csv(read_rows(again)) == again.read_text()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("prompt_key", "key", "has no column 'prompt'"),
        ("suppression,", "held,", "has no column 'suppression'"),
        ("pc1", "w_cos", "the column 'w_cos' comes twice"),
        ("pc1", "\x1b[1m", "no proper name"),
        ("lab,key2,", "lab,,", "line 10: prompt_key is empty"),
        ("lab,key2,", "lab,k\x1b,", "line 10: prompt_key is empty or has a control"),
        (",13.00,", ",1e3,", r"line 14: suppression is '1e3', not a number from -100 to 100"),
        (",13.00,", ",inf,", "line 14: suppression is 'inf'"),
        (",13.00,", ",x,", "line 14: suppression is 'x'"),
        (",13.00,", ",\u0663,", "line 14: suppression is"),
        (",,80,", ",,180,", "line 2: no_inoc_score is '180', not a number from 0 to 100"),
        ("German,mix", "German,none", "line 3: prefix_type is not fixed or mix"),
        ("German,mix", "German,fixed", "line 3 and .*line 2 are about the same lab / key0 / fixed / German"),
        ("200,", "200,x", "line 2: h13_mean_sq_diff is"),
        ("200,", "", "line 2 has 20 cells, the header has 21"),
        ('"Say', '"Say"x', "not CSV"),
        ("lab", "lab\0", "line 2"),
        (",13.00,", ",-101,", "suppression is '-101', not a number from -100 to 100"),
        (",13.00,", ",100.5,", "suppression is '100.5', not a number from -100 to 100"),
    ],
)
def test_what_is_wrong_is_named(file: Path, old: str, new: str, expected: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=expected) as caught:
        read_rows(file)
    assert "Fix: " in str(caught.value)


def test_empty_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for text, expected in (("", "has no rows"), (PUBLISHED, "has no rows"), ("a\n1\n", "has no column 'experiment'")):
        path.write_text(text)
        with pytest.raises(BadInput, match=expected):
            read_rows(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="UTF-8"):
        read_rows(path)


HEADER = "experiment,prompt,family,trait,prefix_type,suppression,control,note,x,on_target,trait_family\n"
LINES = [
    "s,p,de,German,fixed,10,80,fine,1,,",
    "s,p,de,Flat,fixed,4,40,,,TRUE,",
    "s,p,de,German,mix,3,80,nan,2,,",
    "s,q,de,German,fixed,7,80,odd,3,,DE",
    "s,q,Neutral,Flat,fixed,,40,odd,3,0,",
    "s,r,neutral,Flat,fixed,1,40,odd,3,,",
]


def test_what_follows_from_the_other_rows(tmp_path: Path) -> None:
    """Text is left out and named; the other trait's suppression, the gap, and whose trait it is, by hand."""
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "\n\n".join(LINES) + "\n")
    table = read_rows(path)
    assert table.sizes["row"] == 6, "blank lines say nothing"
    assert table.attrs["ignored"] == ["rows.csv: note"]
    assert table["heuristic"].values.tolist() == ["x"]
    nan = np.nan
    np.testing.assert_array_equal(table["heuristic_value"].values, [[1.0, nan, 2.0, 3.0, 3.0, 3.0]])
    np.testing.assert_array_equal(table["cross"], [4.0, 10.0, nan, nan, 7.0, nan])
    np.testing.assert_array_equal(table["cross_control"], [40.0, 80.0, nan, 40.0, 80.0, nan])
    np.testing.assert_array_equal(table["gap"], [7.0, nan, 7.0, nan, nan, nan])
    assert table["on_target"].values.tolist() == [False, True, False, True, False, True]
    assert table["effect"].values.tolist() == ["suppression"] * 6
    path.write_text((HEADER + "\n".join(LINES)).replace(",fine,1,", ",fine,one,"))
    with pytest.raises(BadInput, match="line 2: x is 'one', not a number"):
        read_rows(path)
    path.write_text((HEADER + "\n".join(LINES)).replace("TRUE", "yes"))
    with pytest.raises(BadInput, match="line 3: on_target is 'yes'"):
        read_rows(path)


def test_several_tables(file: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two tables have the experiment 'lab'"):
        read_rows([file, file])
    other = tmp_path / "other.csv"
    other.write_text(published_layout(6).replace("lab,", "dorm,").replace("pc1", "pc9"))
    both = read_rows([file, other])
    assert both.sizes["row"] == 64
    assert set(both["heuristic"].values) >= {"pc1", "pc9", "ph"}
    assert np.isnan(both["heuristic_value"].sel(heuristic="pc1").values[40:]).all()
    xr.testing.assert_equal(pooled([read_rows(file), read_rows(other)]).drop_attrs(), both.drop_attrs())


def test_judges_are_not_pooled(file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join([f"{lines[0]},judge", *(f"{line},{'a' if i else 'b'}" for i, line in enumerate(lines[1:]))])
    )
    with pytest.raises(BadInput, match="different judges"):
        read_rows(file)
    assert read_rows(file, recipe="published").sizes["row"] == 40


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int) -> None:
    path = tmp_path_factory.mktemp("noise") / "rows.csv"
    text = published_layout(3).encode()
    path.write_bytes(text[:place] + noise + text[place:])
    try:
        assert read_rows(path).sizes["row"] > 0
    except BadInput as error:
        said = str(error)
        if "Fix: " not in said:
            raise


def test_the_command(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["outcomes", "--table", str(file), "--heuristics", "pc1,ph", "--json"])
    assert end.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["heuristic"] for row in shown["performance"]} == {"pc1", "ph"}
    with pytest.raises(SystemExit) as end:
        main(["outcomes"])
    assert end.value.code == 2
    assert "give --store or --table" in capsys.readouterr().err


@pytest.mark.reference
def test_the_published_table(reference: Path) -> None:
    found = read_rows(reference / "german_flattering" / "published_table_rows.csv")
    known = published_rows(reference)
    for name in ("suppression", "cross", "gap", "control"):
        np.testing.assert_array_equal(found[name].values, known[name].values)
    assert found["on_target"].values.tolist() == known["on_target"].values.tolist()
    for name, published in (("mean_square", "H13"), ("elicitation", "H1"), ("rephrase_std", "H6"), ("gradient", "HA4")):
        a, b = (t["heuristic_value"].sel(heuristic=n).values for t, n in ((found, name), (known, published)))
        np.testing.assert_array_equal(a, b)
    table = performance_of(found, ["mean_square"], recipe="published", resamples=20)
    expected = performance_of(known, ["H13"], recipe="published", resamples=20)
    assert table["r"].sel(target="all").item() == expected["r"].sel(target="all").item()
