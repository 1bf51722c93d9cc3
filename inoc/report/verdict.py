"""The first thing the page says: which prompt to use and why, which to avoid, and what cannot be said."""

from typing import TYPE_CHECKING, NamedTuple

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.report.words import NAMED, Fact, Item, Ranking, bounds
from inoc.store.store import Store

if TYPE_CHECKING:
    import xarray as xr

TITLE = "What to use"


class Choice(NamedTuple):
    """A prompt and prefix type with what it holds back of the leak and costs of what is wanted: value, lower, upper."""

    prompt: str
    prefix_type: str
    text: str
    role: str
    measured: bool
    standing: str
    leak: tuple[float, float, float]
    loss: tuple[float, float, float]

    @property
    def gain(self) -> float:
        """Held back minus lost, both counted alike."""
        return self.leak[0] - self.loss[0]

    @property
    def good(self) -> bool:
        """It clearly holds the leak back, costs less, and does not ask for the wanted trait: training with a prompt
        that asks for a trait holds that trait back."""
        return self.role != "positive" and self.leak[1] > 0 and self.gain > 0 and self.standing != "behind"

    @property
    def bad(self) -> bool:
        """It clearly costs what is wanted, and at least as much as it holds back."""
        return self.loss[1] > 0 and self.gain <= 0


def verdict(store: Store) -> list[Fact]:
    """What to use, with the prompts that are good, bad or undecided; or why that cannot be said."""
    from inoc.outcomes import recommend

    try:
        table = recommend(store)
    except BrokenStore:
        raise
    except (BadInput, IncompleteStore) as error:
        return [Fact(TITLE, ["That cannot be said yet.", str(error)])]
    unit = "pp" if table.attrs["units"] == "pp" else "%"
    found = _choices(table, 1.0 if unit == "pp" else 100.0)
    leak, wanted = str(table.attrs["leak_trait"]), str(table.attrs["wanted_trait"])
    good = sorted((choice for choice in found if choice.good), key=lambda choice: -choice.gain)
    bad = sorted((choice for choice in found if choice.bad), key=lambda choice: choice.gain)
    unclear = [choice for choice in found if choice.leak[1] <= 0 <= choice.leak[2] and not choice.bad]
    lines = [_sentence(good, leak, wanted, unit)]
    if left_out := len(table.attrs["left_out"]):
        lines.append(f"Cannot say for {left_out} more, which `inoc recommend` names with the reason.")
    rankings = [
        Ranking(f"{title} ({len(choices)})", [_item(choice, unit) for choice in choices[:NAMED]])
        for title, choices in (
            (f"Good: hold {leak} back for less {wanted}", good),
            (f"Bad: cost at least as much {wanted} as they hold back", bad),
            (f"Cannot say: may hold no {leak} back", unclear),
        )
        if choices
    ]
    facts = [Fact(TITLE, lines, rankings)]
    said: list[str] = [] if good and good[0].measured else list(table.attrs["trust"])
    said += table.attrs["doubts"]
    return facts + ([Fact("How far to trust it", said)] if said else [])


def _choices(table: "xr.Dataset", scale: float) -> list[Choice]:
    found: list[Choice] = []
    for i in range(table.sizes["row"]):
        row = table.isel(row=i)
        leak, loss = (
            (scale * float(row[name]), scale * float(row[f"{name}_lower"]), scale * float(row[f"{name}_upper"]))
            for name in ("leak", "loss")
        )
        prompt, kind, text, role, standing = (
            str(row[name].item()) for name in ("prompt", "prefix_type", "text", "role", "standing")
        )
        found.append(Choice(prompt, kind, text, role, bool(row["measured"].item()), standing, leak, loss))
    return found


def _sentence(good: list[Choice], leak: str, wanted: str, unit: str) -> str:
    if not good:
        return f"No prompt clearly holds {leak} back at less cost of {wanted}."
    best = good[0]
    equal = sum(other.leak[2] >= best.leak[1] and other.loss[1] <= best.loss[2] for other in good[1:])
    also = f" {equal} more may be as good: their intervals overlap." if equal else ""
    return (
        f"{best.prompt}, {best.prefix_type} ({'measured' if best.measured else 'predicted'}): holds back "
        f"{_number(best.leak)} {unit} of {leak} and costs {_number(best.loss)} {unit} of {wanted}, the best of all "
        f"if both count alike.{also}"
    )


def _item(choice: Choice, unit: str) -> Item:
    said = f"holds back {_number(choice.leak)}, costs {_number(choice.loss)} {unit}"
    said += "" if choice.measured else ", predicted"
    return Item(f"{choice.prompt}, {choice.prefix_type}", choice.text, said)


def _number(value: tuple[float, float, float]) -> str:
    return f"{value[0]:z.0f}{bounds(value[1], value[2], 0)}".replace("-", "−")
