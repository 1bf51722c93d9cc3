"""What `--dry-run` prints: the same table and the same JSON for every stage."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inoc.backends.pricing import Price
    from inoc.stages.forecast import Forecast


def forecast_text(forecast: "Forecast") -> str:
    """The plan of a stage as a table, what is left, and its price where the backend says one."""
    lines = [f"note: {note}" for note in forecast.notes]
    width = max([4, *(len(row.name) for row in forecast.rows)])
    if forecast.rows:
        lines.append(f"{forecast.stage:<{width}} {'to do':>8} {'of':>8} {'':<8} {'tokens':>14}")
    for row in forecast.rows:
        left = row.total - row.done
        lines.append(
            f"{row.name:<{width}} {left:>8,} {row.total:>8,} {row.unit:<8} {row.tokens:>14,}  {row.detail}".rstrip()
        )
    if not any(row.total > row.done for row in forecast.rows):
        return "\n".join([*lines, f"{forecast.stage}: nothing to do"])
    price = "" if forecast.price is None else f"; {price_text(forecast.price)}"
    return "\n".join([*lines, f"{forecast.stage}: {forecast.tokens:,} tokens{price}"])


def price_text(price: "Price") -> str:
    """What work costs on rented machines, as far as that is known."""
    from inoc.cli.progress import duration

    jobs = f"{price.jobs} job{'' if price.jobs == 1 else 's'}"
    text = f"with contexts about {price.tokens:,} in {jobs} on {price.hardware}\n"
    if price.hours is not None and price.rate is not None:
        dollars = "" if price.dollars is None else f", about ${price.dollars:,.2f}"
        text += f"about {duration(price.hours * 3600)} of one machine at {price.rate:,.0f} tokens/s{dollars}\n"
    return f"{text}({price.basis})"
