"""A pool of real worker processes gives what one process gives; a refused cluster is one sentence."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.probing import ProbeGroup, ProbeSpec
from inoc.backends.protocols import ModelSpec, SampleRequest, ScoreRequest, TrainingExample, TrainingStep  # fmt: skip
from inoc.cluster import Place, Pool, open_pool
from inoc.errors import BackendRejected, BadInput
from inoc.testing import tiny_model
from inoc.values import Sampling

from ..command_line import run_inoc
from ..small_training import small_job
from ..study.conftest import write_study
from ..study.test_prefill import PREFILLED
from .conftest import Cluster, Lab, contents

SCORES = [ScoreRequest(str(i), (1, 2, 3 + i), tuple(range(4, 10 + i))) for i in range(12)]
SAMPLES = [SampleRequest(str(i), (1, 2, 3 + i % 9)) for i in range(150)]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(str(tiny_model(tmp_path_factory.mktemp("model") / "m", "qwen2", seed=1)))


@pytest.fixture(scope="module")
def pool(pair: Cluster, spec: ModelSpec) -> Iterator[Pool]:
    with open_pool("local", spec, Place(pair.address, {"GPU": 1})) as pool:
        yield pool


@pytest.fixture(scope="module")
def alone(spec: ModelSpec) -> LocalBackend:
    return LocalBackend.from_spec(spec)


def test_it_is_the_inner_backend_to_all_who_ask(pool: Pool, alone: LocalBackend) -> None:
    assert (pool.name, pool.identity(), pool.context_length) == (alone.name, alone.identity(), alone.context_length)
    assert pool.capabilities == replace(alone.capabilities, samples_while_training=True)


def test_scores_are_the_same_bytes(pool: Pool, alone: LocalBackend) -> None:
    mine, other = ({r.id: r.logprobs.tobytes() for r in b.score(SCORES)} for b in (pool, alone))
    assert mine == other


@pytest.mark.slow  # a study has the same bytes
def test_answers_are_the_same_tokens(pool: Pool, alone: LocalBackend) -> None:
    """150 are two tasks."""
    mine, other = ({r.id: r.token_ids for r in b.sample(SAMPLES, Sampling(max_tokens=9))} for b in (pool, alone))
    assert mine == other


@pytest.mark.slow  # a study has the same bytes
def test_vectors_and_probes_are_the_same(pool: Pool, alone: LocalBackend) -> None:
    assert np.array_equal(pool.embed(["one", "two words"]), alone.embed(["one", "two words"]))
    spec = ProbeSpec("gradient", rank=2, dimension=8)
    groups = [
        ProbeGroup(f"g{i}", (TrainingExample(f"{i}", (1, 2, 3 + i, 4, 5), (0.0, 0.0, 0.0, 1.0, 1.0)),))
        for i in range(11)
    ]
    mine, other = (list(b.probe(spec, groups[1:], groups[:1])) for b in (pool, alone))
    assert [found.id for found in mine] == [group.id for group in groups]
    for a, b in zip(mine, other, strict=True):
        assert pickle.dumps(a) == pickle.dumps(b)


@pytest.mark.slow  # a study has the same bytes
def test_a_training_gives_the_same_events_and_files(pool: Pool, alone: LocalBackend, tmp_path: Path) -> None:
    mine, other = (
        list(b.train(small_job(tmp_path / name, updates=6))) for name, b in (("pool", pool), ("alone", alone))
    )
    steps = [[event for event in events if isinstance(event, TrainingStep)] for events in (mine, other)]
    assert steps[0] == steps[1]
    files = [
        {name: data for name, data in contents(tmp_path / folder).items() if name.endswith("adapter_model.safetensors")}
        for folder in ("pool", "alone")
    ]  # PEFT writes the names in adapter_config.json in an order of the process
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_an_error_of_the_inner_backend_comes_back(pool: Pool) -> None:
    with pytest.raises(BadInput, match="has an empty context"):
        list(pool.score([ScoreRequest("x", (), (1,))]))
    with pytest.raises(BackendRejected, match="needs 4 tokens of context"):
        list(pool.sample([SampleRequest("x", (1, 2, 3, 4))], Sampling(max_tokens=100_000)))


def test_no_secret_travels(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent to the scheduler holds no environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    sent: list[bytes] = []
    submit = pool._client.submit

    def listening(*given: object, **options: object) -> object:
        sent.append(pickle.dumps((given[1:], options)))
        return submit(*given, **options)

    monkeypatch.setattr(pool._client, "submit", listening)
    list(pool.score(SCORES))
    assert sent
    assert not any(b"very-secret" in data or b"OPENAI" in data for data in sent)


@pytest.mark.slow  # a whole study; the fast form are scores
def test_a_study_is_the_same_bytes(pair: Cluster, lab: Lab, whole: Lab) -> None:
    """Every stage, by the scheduler's file; training and sampling side by side."""
    code, _, err = lab.inoc("run", "--cluster", pair.file)
    assert code == 0, err
    assert "cluster: 2 workers; dashboard http://127.0.0.1:" in err
    assert "scoring 10/10 on 2 workers" in err or "training 12/12 on 2 workers" in err
    assert contents(lab.store) == contents(whole.store)
    assert contents(lab.folder / "generated") == contents(whole.folder / "generated")
    assert not list(lab.folder.rglob("worker.lock"))
    code, out, err = lab.inoc("run", "--cluster", pair.file, "--json")
    assert code == 0, err
    assert json.loads(out)["stages"]["score"] == "0 units scored, 10 stored already"


@pytest.mark.slow
def test_prefills_are_the_same_bytes(pair: Cluster, tmp_path: Path) -> None:
    stores: list[Path] = []
    for name, more in (("alone", ()), ("pool", ("--cluster", pair.address))):
        (tmp_path / name).mkdir()
        study = write_study(tmp_path / name, PREFILLED)
        stores.append(study.with_name("run.zarr"))
        words = study, "--store", stores[-1], "--runs", "no_inoculation-s0", *more
        for command in ("train", "prefill"):
            code, _, err = run_inoc(command, *words)
            assert code == 0, err
    mine, other = ({k: v for k, v in contents(s / "emergence").items() if "zarr.json" not in k} for s in stores)
    assert mine
    assert mine == other


def test_heuristics_are_the_same_to_rounding(pair: Cluster, whole: Lab) -> None:
    alone, spread = (
        run_inoc("heuristics", "--store", whole.store, "--json", "--engine", "numpy", *more)
        for more in ((), ("--cluster", pair.address))
    )
    assert spread[0] == 0, spread[2]
    assert "cluster: 2 workers" in spread[2]
    assert_close(json.loads(alone[1]), json.loads(spread[1]))


def assert_close(one: object, other: object) -> None:
    match one:
        case dict():
            assert isinstance(other, dict)
            assert one.keys() == other.keys()
            for key in one:
                assert_close(one[key], other[key])
        case list():
            assert isinstance(other, list)
            for a, b in zip(one, other, strict=True):
                assert_close(a, b)
        case float():
            assert other == pytest.approx(one, rel=1e-6, abs=1e-9)
        case _:
            assert one == other


@pytest.mark.parametrize(
    "address", ["local:0", "local:9999", "local", "http://x", "tcp://a b", "tcp://user@host:1", ""]
)
def test_a_wrong_address_is_bad_input(lab: Lab, address: str) -> None:
    code, _, err = lab.inoc("score", "--cluster", address)
    assert code == 2
    assert "does not name a cluster. Fix: give local:N" in err
    assert not lab.store.exists()


def test_nobody_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inoc.cluster.place.CONNECT", "1s")
    code, _, err = lab.inoc("score", "--cluster", "tcp://127.0.0.1:9")
    assert code == 2
    assert err.count("\n") == 1
    assert "no dask scheduler answers at tcp://127.0.0.1:9" in err
    code, _, err = lab.inoc("score", "--cluster", "missing.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "missing.json does not exist" in err


def test_dask_is_not_installed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    code, _, err = lab.inoc("score", "--cluster", "local:1")
    assert code == 2
    assert err.strip().endswith("a cluster needs dask.distributed. Fix: pip install -e '.[cluster]' in inoc's clone.")


def test_resources_that_no_worker_has(pair: Cluster, spec: ModelSpec) -> None:
    with (
        pytest.raises(BadInput, match=r"no worker of the cluster has TPU=1\. Fix"),
        open_pool("local", spec, Place(pair.address, {"TPU": 1})),
    ):
        pass


def test_workers_that_have_just_died_are_not_said_to_lack_anything(pair: Cluster, spec: ModelSpec, monkeypatch) -> None:
    """Their nannies start others; a pool that no worker joins has its own patience."""
    monkeypatch.setattr("distributed.Client.scheduler_info", lambda client: {"workers": {}})
    for asked in ({}, {"TPU": 1.0}):
        with open_pool("local", spec, Place(pair.address, asked)) as opened:
            assert isinstance(opened, Pool)


def test_a_study_file_names_no_scheduler(lab: Lab) -> None:
    """A scheduler may run code where it is asked: the study of somebody else must not choose one."""
    lab.study.write_text(lab.study.read_text() + "cluster: {address: 'tcp://evil:8786'}\n")
    code, _, err = lab.inoc("score")
    assert code == 2
    assert "cluster.address" in err
