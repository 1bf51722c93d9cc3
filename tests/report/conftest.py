"""Stores to report on, and a real headless Chromium to open the reports with."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inoc.report import write_report
from inoc.store import PromptInfo, StoreWriter, open_store

from ..worlds import Completions, Run, write_store
from .browser import Browser, lacking

HOSTILE = (
    "<script>alert(1)</script> & <b>bold</b>",
    '</textarea></script><img src=x onerror="alert(2)">',
    "שלום עולם (hello) مرحبا",
    "👩\u200d🚀🎉 fertig",
    "tab\there\nline\u0007bell \u202eoverride",
)
PROMPTS = [
    PromptInfo("german", "Answer in German.", "de", "german", "positive"),
    PromptInfo("german_too", "Sprich Deutsch.", "de", "german", "positive"),
    PromptInfo("flatter", "Flatter </script><script>alert(3)</script>", "fl<i>", "flattering", "negative"),
    PromptInfo("a<b>'\"&", "The sky is blue.", "new", "neutral", "neutral"),
]
KINDS = ("fixed", "mix")
MISSING = 3
"""A token without log-probability in the first example."""


def byte_tokenizer(path: Path) -> Path:
    """A tokenizer.json with one token per byte, so that most characters here are spread over several tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.save(str(path))
    return path


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path) -> Path:
    """A token-level store with hostile texts everywhere, missing values, one pending unit and training runs."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in HOSTILE]
    rng = np.random.default_rng(1)
    n = sum(len(row) for row in ids)
    draws = {}
    for unit in [("none", ""), *((kind, prompt.key) for kind in KINDS for prompt in PROMPTS)][:-1]:  # one stays pending
        draws[unit] = -rng.exponential(2.0, n).astype(np.float32)
        if unit[0] == "fixed":
            draws[unit][MISSING] = np.nan
    texts = {
        "token_ids": np.concatenate([np.array(row) for row in ids]),
        "instructions": [f"<u>Question {i}</u>" for i in range(len(HOSTILE))],
        "completions": list(HOSTILE),
    }
    default = draws.pop(("none", ""))
    names = [("control", "", "none"), *((f"run{i}", p.key, "fixed") for i, p in enumerate(PROMPTS))]
    names.append(("run0_mix", PROMPTS[0].key, "mix"))
    path = write_store(
        tmp_path_factory.mktemp("hostile") / "store.zarr",
        PROMPTS,
        {"train": Completions(np.array([len(row) for row in ids]), default, draws, texts)},
        runs=[
            Run(
                name,
                prompt,
                {(step, "default"): rng.uniform(0, 100, (2, 12)) for step in (0, 8)},
                {"prefix_type": kind, "instructions": [f"<u>{i}</u>?" for i in range(12)]},
                texts=[f"{name} {HOSTILE[i % len(HOSTILE)]}" for i in range(12)],
            )
            for name, prompt, kind in names
        ],
        experiment={"name": "<img src=x onerror=alert(4)>"},
        embeddings=([prompt.key for prompt in PROMPTS], np.random.default_rng(3).normal(size=(len(PROMPTS), 6))),
    )
    with StoreWriter.open(path, identity={}, experiment=open_store(path).experiment, provenance={}) as writer:
        for run, gap in (("control", 5.0), ("run1", 50.0)):
            scores = open_store(path).read(f"runs/{run}/score")[1, 0, 0]
            values = np.where(scores > 50, scores - gap, scores + gap)
            writer.put_judgments(run, 8, "default", "German", "</script><i>judge</i>", values, np.full(12, 0.5))
    return path


@pytest.fixture(scope="session")
def hostile_report(hostile: Path, tokenizer_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(open_store(hostile), page, tokenizer=tokenizer_file).path


@pytest.fixture(scope="session")
def wide_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 48 prompts x 1000 examples with tokens."""
    place = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(2)
    roles = ("positive", "negative", "neutral")
    families = ("german", "flattering", "neutral")
    prompts = [
        PromptInfo(f"prompt_{i:02d}", f"Prompt number {i}.", "g", families[i % 3], roles[i % 3]) for i in range(48)
    ]
    sizes = np.where(np.arange(1000) % 10, 6, 300)
    n = int(sizes.sum())
    default = -rng.exponential(2.0, n).astype(np.float32)
    prefixed = {
        (kind, prompt.key): np.minimum(default + rng.normal(0, 0.5, n).astype(np.float32), 0)
        for kind in KINDS
        for prompt in prompts
    }
    train = Completions(sizes, default, prefixed, {"token_ids": np.arange(n) % 256})
    write_store(place / "store.zarr", prompts, {"train": train})
    return write_report(open_store(place / "store.zarr"), place / "report.html").path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.driver.quit()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, the version of `axe/package-lock.json`, fetched once into pytest's cache."""
    declared = Path(__file__).with_name("axe")
    version = json.loads((declared / "package.json").read_text())["dependencies"]["axe-core"]
    source = request.config.cache.mkdir("axe-core") / f"axe-{version}.min.js"
    if not source.is_file():
        npm = shutil.which("npm")
        if npm is None:
            lacking("npm is not installed, and axe-core is not in pytest's cache")
        place = shutil.copytree(declared, tmp_path_factory.mktemp("axe") / "axe")
        asked = [npm, "ci", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
        fetched = place / "node_modules" / "axe-core" / "axe.min.js"
        if not fetched.is_file():
            lacking(f"npm could not fetch axe-core: {done.stderr.strip()[-200:]}")
        partial = source.with_name(f"axe.{os.getpid()}")
        shutil.copyfile(fetched, partial)
        os.replace(partial, source)
    return source.read_text()
