"""A study on the toy backend, installed like anybody's plugin, and the command line in a process of its
own."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from inoc.backends.registry import BACKENDS
from inoc.cli import main

from ..command_line import with_path

HERE = Path(__file__).parent
STUDY = """\
name: toy
seed: 0
model: {id: toy, system_prompt: Be kind.}
backend: {name: toy}
traits:
  positive: {name: French, family: french}
  negative: {name: Playful, family: playful}
prompts:
  strong: {family: playful, prompts: {answer: Answer playfully., clown: You are a clown.}}
  plain: {family: neutral, prompts: {sky: The sky is blue.}}
completion_sets:
  train: {path: train.jsonl, limit: 6}
  control: {path: control.jsonl, prefix_types: [fixed]}
rephrasings: {path: pools, size: 4}
"""
UNITS = 1 + 2 * 3 + 1 + 3


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Lab:
    """A folder with a study, and `inoc` run in it as a user would."""

    folder: Path
    plugins: Path

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    def inoc(self, *arguments: str, **extra: str) -> Done:
        """Run a command in this process: quick, and with every type checked."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.syspath_prepend(str(self.plugins))
            BACKENDS.reset()
            patch.setattr(sys, "argv", ["inoc", *arguments])
            for name, value in extra.items():
                patch.setenv(name, value)
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
                main()
        return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())

    def score(self, *arguments: str, store: str = "run.zarr", **extra: str) -> Done:
        return self.inoc("score", "study.yaml", "--store", store, *arguments, **extra)

    def start(self, *arguments: str, store: str = "run.zarr", **extra: str) -> subprocess.Popen[str]:
        """`inoc score` in a process of its own, to be killed. Ctrl-C must reach it also where these tests run in the
        background, which leaves SIGINT ignored."""
        listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        command = [
            sys.executable,
            "-c",
            f"{listen}; from inoc.cli import main; main()",
            "score",
            "study.yaml",
            "--store",
            store,
        ]
        return subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            env={**with_path(self.plugins), **extra},
        )  # fmt: skip

    def edit(self, old: str, new: str) -> None:
        text = self.study.read_text()
        assert old in text
        self.study.write_text(text.replace(old, new))


def plugin(folder: Path, name: str, source: str, entry: str) -> None:
    """Install a package the way pip does: a module and its metadata on the path."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[inoc.backends]\n{entry}\n")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def make_lab(tmp_path: Path) -> Lab:
    folder, plugins = tmp_path / "lab", tmp_path / "plugins"
    (folder / "pools").mkdir(parents=True)
    plugins.mkdir()
    plugin(plugins, "toy-backend", (HERE / "toy_backend.py").read_text(), "toy = toy_backend:ToyBackend")
    (folder / "study.yaml").write_text(STUDY)
    for name, n in (("train", 9), ("control", 4)):
        rows = [{"instruction": f"Say {name} {i}", "completion": f"C'est {'x' * (1 + 7 * i)} ✓"} for i in range(n)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for key in ("answer", "clown", "sky"):
        (folder / "pools" / f"{key}.jsonl").write_text("".join(f'"{key} in other words {i}"\n' for i in range(4)))
    return Lab(folder, plugins)


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a store, by relative path."""
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}
