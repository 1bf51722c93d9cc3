"""What scoring takes and costs, from the options, the client's price table and earlier jobs."""

from collections.abc import Mapping
from typing import Final, cast

from inoc.backends.openweights.command import image_of
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.service import Row
from inoc.backends.pricing import Price, Work
from inoc.errors import BadInput

EARLIER: Final = 5
"""Earlier jobs whose speed is averaged."""
LEAST: Final = 10_000
"""Tokens below which a job's speed is dominated by loading the model."""
SECONDS: Final = 3600.0


def price(desk: Desk, tokens: int, work: Work, jobs: int | None) -> Price:
    """For this number of tokens in all; None for what is unknown, with advice in `basis`."""
    options = desk.options
    jobs = jobs or -(-tokens // options.tokens_per_job)
    allowed = options.hardware()
    hardware = " or ".join(allowed) if allowed else f"at least {options.requires_vram_gb} GB of GPU memory"
    rate, basis = options.tokens_per_second, "option tokens_per_second"
    if rate is None:
        rate, basis = measured(desk, work)
    hours = tokens / rate / SECONDS if rate else None
    hourly, whose = options.price_per_hour, "option price_per_hour"
    if hourly is None:
        hourly, whose = listed(allowed)
    dollars = None if hours is None or hourly is None else hours * hourly
    at = f"${hourly:.2f} per hour ({whose})" if hourly is not None else whose
    return Price(jobs, hardware, tokens, rate, f"{basis}; {at}", hours, dollars)


def measured(desk: Desk, work: Work) -> tuple[float | None, str]:
    """Tokens per second of the newest finished jobs of this kind and model in this image."""
    rows = desk.service.find({"program": "inoc", "kind": work, "model": desk.model.name})
    image = image_of(desk.options)
    done = [speed(row, work) for row in rows if row["status"] == "completed" and row["docker_image"] == image]
    known = [pair for pair in done if pair is not None][:EARLIER]
    if not known:
        return None, "this model has no earlier job; set the option tokens_per_second for an estimate"
    tokens, seconds = (sum(column) for column in zip(*known, strict=True))
    return (tokens / seconds, f"measured on {len(known)} earlier job{'' if len(known) == 1 else 's'} of this model")


def speed(row: Row, work: Work) -> tuple[float, float] | None:
    """Tokens and seconds of a finished job, if it reported them and was large enough."""
    outputs = cast(Mapping[str, object], row.get("outputs") or {})
    tokens, seconds = outputs.get(f"{work}_tokens"), outputs.get(f"{work}_seconds")
    if not isinstance(tokens, (int, float)) or not isinstance(seconds, (int, float)):
        return None
    if tokens < LEAST or seconds <= 0:
        return None
    return float(tokens), float(seconds)


def listed(allowed: list[str] | None) -> tuple[float | None, str]:
    """The most expensive of the allowed machines in the client's table."""
    if not allowed:
        return None, "unknown price; set the option price_per_hour or allowed_hardware"
    from inoc.backends.openweights.client import prices

    found: list[float] = []
    for name in allowed:
        try:
            price = prices(name)
        except ValueError as error:
            raise BadInput(f"openweights option allowed_hardware: {error}") from None
        if price is None:
            return None, f"the client's table has no price for {name}; set the option price_per_hour"
        found.append(price)
    return max(found), "the client's table"
