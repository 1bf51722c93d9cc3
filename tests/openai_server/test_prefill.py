"""Forced beginnings of answers through a completions server, against the same checkpoints here."""

import shutil
from pathlib import Path

import pytest
import xarray as xr
from servers.completions_server import CompletionsServer

import inoc

from ..command_line import run_inoc
from ..study.conftest import write_study
from ..study.test_prefill import PREFILLED

RUN = "no_inoculation-s0"


def counted(study: Path, store: str) -> xr.Dataset:
    code, _, err = run_inoc("prefill", study, "--store", study.with_name(store), "--runs", RUN)
    assert code == 0, err
    return inoc.open_store(study.with_name(store)).emergence[RUN]


@pytest.mark.torch
@pytest.mark.slow  # a stage on two backends; scores and samples of both are compared by fast tests
def test_counts_and_surprisals_are_those_of_local(tmp_path: Path) -> None:
    """Greedy answers, since a server draws from random streams of its own."""
    text = PREFILLED.replace("max_tokens: 8", "max_tokens: 8, temperature: 0")
    study = write_study(tmp_path, text)
    code, _, err = run_inoc("train", study, "--store", tmp_path / "s.zarr", "--runs", RUN)
    assert code == 0, err
    shutil.copytree(tmp_path / "s.zarr", tmp_path / "served.zarr")
    shutil.copytree(tmp_path / "s.work", tmp_path / "served.work")
    here = counted(study, "s.zarr")
    with CompletionsServer(tmp_path / "model") as server:
        study.write_text(f"{text}backend: {{name: openai_server, options: {{url: '{server.url}'}}}}\n")
        there = counted(study, "served.zarr")
        assert len(server.loaded) == 2, "both checkpoints are loaded into the server"
    for name in ("successes", "trials", "text", "question"):
        assert there[name].equals(here[name]), name
    for name in ("surprisal", "base_surprisal", "neg_kl"):
        xr.testing.assert_allclose(there[name], here[name], atol=1e-4)
