"""What a stage would do, from its plan and the store: nothing is sent and nothing is written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from inoc.backends.pricing import Price, Priced, Work
from inoc.backends.protocols import Checkpoint
from inoc.plan import Study, Texts
from inoc.plan.texts import most_tokens
from inoc.stages.sampling import kept_answers
from inoc.values import Json


class Row(NamedTuple):
    """One line of a forecast, about a completion set, a prompt or a run: how many units (or answers) the plan has, how
    many are made already, and the tokens that the model will process for the rest (answers at full length)."""

    name: str
    unit: str
    total: int
    done: int
    tokens: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Forecast:
    """What a stage would do: one row per completion set, prompt or run, what the rest costs where the backend says a
    price, and what the forecast leaves out."""

    stage: str
    rows: tuple[Row, ...]
    price: Price | None = None
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(row.tokens for row in self.rows)

    def to_json(self) -> dict[str, Json]:
        """As one JSON object."""
        rows: list[Json] = [{**row._asdict(), "pending": row.total - row.done} for row in self.rows]
        price: Json = None if self.price is None else asdict(self.price)
        return {"stage": self.stage, "rows": rows, "tokens": self.tokens, "price": price, "notes": list(self.notes)}


class Asked(NamedTuple):
    """Texts to sample from a checkpoint, and whether what follows from them is stored."""

    texts: Texts
    stored: bool
    checkpoint: Checkpoint | None = None


def answers_row(study: Study, name: str, asked: Sequence[Asked], detail: str = "") -> Row:
    """The answers of a row; those that are sampled and not judged yet count as done."""
    left = [a.texts for a in asked if not a.stored and kept_answers(a.texts, a.checkpoint) is None]
    total = sum(len(a.texts.questions) for a in asked)
    return Row(name, "answers", total, total - _questions(left), most_tokens(study, left), detail)


def to_judge(asked: Sequence[Asked]) -> str:
    """How many of the answers are not judged yet."""
    n = _questions([a.texts for a in asked if not a.stored])
    return f"{n} to judge" if n else ""


def _questions(groups: Sequence[Texts]) -> int:
    return sum(len(texts.questions) for texts in groups)


def price_of(study: Study, tokens: int, work: Work, jobs: int | None = None) -> Price | None:
    """What the backend says that work costs; None where it says no price or nothing is left."""
    if not tokens or not isinstance(study.backend, Priced):
        return None
    return study.backend.price(tokens, work, jobs)
