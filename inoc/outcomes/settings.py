"""How runs were trained: a prediction holds for the settings it was calibrated at."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from inoc.store.store import Store


class Settings(NamedTuple):
    """The settings that outweigh a prompt; None where not stored."""

    method: str | None
    learning_rate: float | None
    updates: int | None
    batch: int | None

    def __str__(self) -> str:
        said = [self.method or ""]
        said.append(f"learning rate {self.learning_rate:g}" if self.learning_rate else "")
        batch = f" of {self.batch}" if self.batch else ""
        said.append(f"{self.updates} updates{batch}" if self.updates else f"batches{batch}" if batch else "")
        return ", ".join(part for part in said if part)

    def differs(self, other: "Settings") -> bool:
        """Whether something known of both is not the same."""
        return any(a != b for a, b in zip(self, other, strict=True) if a is not None and b is not None)


def settings_of(store: Store) -> list[Settings]:
    """The settings of a store's runs, each once; where it has none, those its experiment plans."""
    found = [_settings(run.settings, run.nominal_step) for run in store.runs.values() if not run.start]
    if not found:
        planned = store.experiment.get("training")
        found = [_settings(cast(Mapping[str, object], planned), -1)] if isinstance(planned, dict) else []
    return [settings for settings in dict.fromkeys(found) if any(settings)]


def unlike(new: Iterable[Settings], calibrated: Iterable[Settings]) -> list[Settings]:
    """Those of `new` that differ from all that predictions were calibrated at."""
    known = list(calibrated)
    return [settings for settings in new if known and all(settings.differs(other) for other in known)]


def _settings(stored: Mapping[str, object], updates: int) -> Settings:
    """From the stored fields; a hostile value is unknown."""

    def number(name: str) -> float | None:
        value = stored.get(name)
        return float(value) if isinstance(value, int | float) and value > 0 else None

    method, size = stored.get("method"), number("batch_size")
    batch = int(size * (number("accumulation") or 1)) if size else None
    return Settings(str(method) if method else None, number("learning_rate"), updates if updates > 0 else None, batch)
