"""SIGKILL anywhere in `inoc run`, then the same command: the same result, and nothing paid for twice.

A whole study (generate, score, describe, elicit, train, evaluate) on a tiny model, judged over HTTP by a server that
counts.
What a kill may cost is stated here and asserted:

- judge: requests under way when the process died are asked again, and no others; at most `CONCURRENCY` a kill.
- training: updates since the last resume state, at most `RESUME_EVERY`; none when the kill met another stage.
- sampling: the batch of answers under way; none when the kill met judging or training.
- scoring: the requests of the unit under way; none when the kill met another stage.

The completion set that the study generates for itself must come out the same as well.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from servers.openai_stub import Call, Reply, StubServer, chat_reply

from inoc.backends.protocols import TrainingJob

from ..tally import count
from .conftest import STUDY, write_study

pytest.importorskip("openai")
CONCURRENCY = 3
RESUME_EVERY = TrainingJob.__dataclass_fields__["resume_every"].default
ROWS, QUESTIONS, GENERATED = 13, 4, 4
UNIT, BATCH = ROWS, 2 * QUESTIONS
"""Requests of a scored unit; answers of the largest batch (two conditions of a checkpoint)."""
PAID = ("score", "answer", "update")

Kill = tuple[str, int]
"""What is counted and at which count the process dies: one of `killable.py`'s, or "judge"."""


class CountingJudge:
    """Answers by a hash of the request, so that the same text always gets the same score. Kills a process on demand."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.kill_at, self.pid = 0, 0
        self.server = StubServer(self.answer)

    def answer(self, call: Call) -> Reply:
        self.asked.append(call.content)
        if len(self.asked) == self.kill_at:
            os.kill(self.pid, signal.SIGKILL)
        digest = hashlib.sha256(call.content).digest()
        return chat_reply([(str(digest[0] % 101), 0.75), (str(digest[1] % 101), 0.25)], delay=0.002)


@dataclass
class Launcher:
    """Starts `inoc` processes (see killable.py)."""

    process: subprocess.Popen[str]

    def start(self, order: dict) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.line()

    def line(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@dataclass
class Lab:
    """A study in a folder, and what running it has cost so far."""

    folder: Path
    study: Path
    """A copy of the study file in a folder of its own: a generated set lies beside it."""
    launcher: Launcher
    judge: CountingJudge
    paid: list[Counter[str]] = field(default_factory=list)
    asked: list[list[bytes]] = field(default_factory=list)

    def run(self, kill: Kill | None = None, *, command: str = "run", full: int = 0) -> int:
        """One process to its end; its wait status. `paid` and `asked` get an entry each. The disk is full from a commit
        on, where `full` is not 0."""
        bill = self.folder / f"paid-{len(self.paid)}"
        judge, before = self.judge, len(self.judge.asked)
        by_judge = kill is not None and kill[0] == "judge"
        judge.kill_at = before + kill[1] if kill is not None and by_judge else 0
        judge.pid = self.launcher.start(
            {
                "args": [command, str(self.study), "--store", str(self.store)],
                "cache": str(self.folder / "cache"),
                "paid": str(bill),
                "said": str(self.folder / "said"),
                "kill": None if by_judge else kill,
                "full": full,
            }
        )
        status = self.launcher.line()
        self.paid.append(Counter(bill.read_text().split() if bill.exists() else ()))
        self.asked.append(judge.asked[before:])
        return status

    @property
    def store(self) -> Path:
        return self.folder / "run.zarr"

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()


def contents(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def judge() -> Iterator[CountingJudge]:
    judge = CountingJudge()
    with judge.server:
        yield judge


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killable.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Launcher(process)
        process.kill()


@pytest.fixture(scope="module")
def study(judge: CountingJudge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with one training longer than the updates between two resume states."""
    text = STUDY
    for trait in ("vowel", "digit"):
        line = next(line for line in text.splitlines() if line.startswith(f"  {trait}: {{kind"))
        entry = f"kind: logprob, model: judge, question: 'How much {trait}?', base_url: '{judge.server.url}'"
        text = text.replace(line, f"  {trait}: {{{entry}, concurrency: {CONCURRENCY}}}")
    runs = text[text.index("    - {prompts: [say_a]") : text.index("evaluation:")]
    more = "    - {prompts: [say_a], prefix_types: [mix], tag: long, overrides: {epochs: 17}}\n"
    made = f"generate: {{n: {GENERATED}, max_tokens: 6, instruction_prefix: Be plain.}}"
    text = text.replace("train: {path: train.jsonl}", f"train: {{path: train.jsonl}}\n  control: {{{made}}}")
    return write_study(tmp_path_factory.mktemp("study"), text.replace(runs, more))


def new_lab(folder: Path, study: Path, launcher: Launcher, judge: CountingJudge) -> Lab:
    shutil.copytree(study.parent, folder / "study")
    return Lab(folder, folder / "study" / study.name, launcher, judge)


@pytest.fixture(scope="module")
def whole(launcher: Launcher, study: Path, judge: CountingJudge, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The undisturbed study."""
    lab = new_lab(tmp_path_factory.mktemp("whole"), study, launcher, judge)
    assert lab.run() == 0, lab.said
    return lab


@pytest.fixture
def lab(study: Path, launcher: Launcher, judge: CountingJudge, tmp_path: Path) -> Lab:
    return new_lab(tmp_path, study, launcher, judge)


def ends_equal(lab: Lab, whole: Lab, kills: Sequence[Kill]) -> list[Counter[str]]:
    """Kill, repeat, and compare; what every kill cost beyond the undisturbed run is checked and returned."""
    for kill in kills:
        assert lab.run(kill) == signal.SIGKILL, f"{kill} was not reached: {lab.said}"
    count("kill: generate to evaluate", True, len(kills))
    assert lab.run() == 0, lab.said
    assert contents(lab.store) == contents(whole.store)
    assert contents(lab.study.parent / "generated") == contents(whole.study.parent / "generated")
    check_judge_requests(lab, whole)
    total = sum(lab.paid, Counter())
    most = Counter({"score": UNIT, "answer": BATCH, "update": RESUME_EVERY})
    for thing in PAID:
        extra = total[thing] - whole.paid[0][thing]
        assert 0 <= extra <= most[thing] * len(kills), f"{thing}: {extra} paid twice after {kills}"
    return lab.paid


def check_judge_requests(lab: Lab, whole: Lab) -> None:
    """Every text is judged; one is asked again only where it was under way at a kill."""
    once = set(whole.asked[0])
    assert len(once) == len(whole.asked[0]), "the undisturbed study asks nothing twice"
    assert {body for asked in lab.asked for body in asked} == once
    for i, asked in enumerate(lab.asked):
        assert len(set(asked)) == len(asked)
        under_way = set(asked[-CONCURRENCY:])
        again = set(asked) & {body for later in lab.asked[i + 1 :] for body in later}
        assert again <= under_way, "a judgment that had been answered was paid for twice"
    assert sum(map(len, lab.asked)) <= len(once) + CONCURRENCY * (len(lab.asked) - 1)


def test_undisturbed_study_pays_once(whole: Lab) -> None:
    assert whole.paid[0]["update"] == 3 + 55
    assert whole.paid[0]["answer"] == GENERATED + 3 * QUESTIONS + 2 * 2 * BATCH
    assert whole.run() == 0
    assert whole.asked[1] == []
    assert all(whole.paid[1][thing] == 0 for thing in PAID)
    del whole.paid[1:], whole.asked[1:]


def test_kills_in_every_stage_end_equal(lab: Lab, whole: Lab) -> None:
    kills = [("score", 20), ("judge", 7), ("update", 3 + 53), ("judge", 10)]
    bills = ends_equal(lab, whole, kills)
    scoring, eliciting, training, evaluating, last = bills
    assert scoring["score"] == 20
    assert scoring["score"] + eliciting["score"] - whole.paid[0]["score"] == 20 - UNIT, "one unit was stored"
    assert training["update"] + evaluating["update"] - whole.paid[0]["update"] == 53 - RESUME_EVERY
    assert sum(bill["answer"] for bill in bills) == whole.paid[0]["answer"], "no kill met sampling"
    assert last["score"] == last["update"] == 0


POINTS: tuple[Kill, ...] = (
    ("score", 1),
    ("score", ROWS),
    ("score", 5 * ROWS + 3),
    ("answer", 2),
    ("answer", GENERATED + 2),
    ("answer", GENERATED + 3 * QUESTIONS + 5),
    ("judge", 1),
    ("judge", 20),
    ("judge", 60),
    ("update", 1),
    ("update", 3),
    ("update", 4),
    ("update", 3 + RESUME_EVERY),
    ("update", 3 + 55),
)


@pytest.mark.slow
@pytest.mark.parametrize("kill", POINTS, ids=lambda kill: "-".join(map(str, kill)))
def test_killed_there_ends_equal(lab: Lab, whole: Lab, kill: Kill) -> None:
    first, second = ends_equal(lab, whole, [kill])
    own = "" if kill[0] == "judge" else kill[0]
    for thing in PAID:
        if thing != own:
            assert first[thing] + second[thing] == whole.paid[0][thing], f"a kill while {own} cost {thing}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_before_any_rename_ends_equal(lab: Lab, whole: Lab, tmp_path: Path) -> None:
    """Every file gets its name by a rename; the process dies just before some of them, chosen by a seed."""
    commits = whole.paid[0]["commit"]
    chosen = random.Random(3).sample(range(1, commits + 1), 20)
    for n in chosen:
        folder = tmp_path / str(n)
        folder.mkdir()
        ends_equal(new_lab(folder, lab.study, lab.launcher, lab.judge), whole, [("commit", n)])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_disk_anywhere_is_one_sentence_and_the_same_command_goes_on(
    lab: Lab, whole: Lab, tmp_path: Path
) -> None:
    """From some commit on, chosen by a seed, no file gets its name any more; then there is room again."""
    commits = whole.paid[0]["commit"]
    for n in random.Random(4).sample(range(1, commits + 1), 20):
        folder = tmp_path / f"full-{n}"
        folder.mkdir()
        other = new_lab(folder, lab.study, lab.launcher, lab.judge)
        code = os.waitstatus_to_exitcode(other.run(full=n))
        assert code in (1, 2), f"commit {n}: {code} {other.said}"
        assert "Traceback" not in other.said, other.said
        assert "No space left on device" in other.said
        assert other.run() == 0, other.said
        assert contents(other.store) == contents(whole.store)
        count("full disk: generate to evaluate", True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_judging_again_is_killed_anywhere(lab: Lab, whole: Lab, tmp_path: Path) -> None:
    """`inoc judge` with a changed question, killed before some of its renames and at some answers of the judge."""

    def changed(folder: Path) -> Lab:
        folder.mkdir()
        other = new_lab(folder, lab.study, lab.launcher, lab.judge)
        shutil.copytree(whole.store, other.store)
        other.study.write_text(other.study.read_text().replace("How much vowel?", "How many vowels?"))
        return other

    right = changed(tmp_path / "right")
    assert right.run(command="judge") == 0, right.said
    commits, asked = right.paid[0]["commit"], len(right.asked[0])
    assert commits > 10
    kills: list[Kill] = [("commit", n) for n in random.Random(5).sample(range(1, commits + 1), 10)]
    for kill in [*kills, ("judge", 1), ("judge", asked // 2), ("judge", asked)]:
        other = changed(tmp_path / f"{kill[0]}-{kill[1]}")
        assert other.run(kill, command="judge") == signal.SIGKILL, other.said
        assert other.run(command="judge") == 0, other.said
        assert contents(other.store) == contents(right.store), kill
        count("kill: judge", True)
