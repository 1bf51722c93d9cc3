"""The rule that keeps a half-failed judge run from becoming a result."""

import math
from collections import Counter
from collections.abc import Sequence

from inoc.errors import BadResult
from inoc.judge.protocols import Judgement

NAN_LIMIT = 0.10
"""Share of NaN scores at which a cell is an error."""


def check_nan_share(cell_name: str, judgements: Sequence[Judgement], limit: float = NAN_LIMIT) -> int:
    """The number of NaN scores of a cell (one run, step, condition and trait).

    Raises BadResult naming the cell, the count and the commonest reason when the share of NaN reaches
    `limit`, or when the cell is empty.
    """
    if not judgements:
        raise BadResult(f"{cell_name}: nothing was judged")
    failed = [judgement for judgement in judgements if math.isnan(judgement.score)]
    if len(failed) < limit * len(judgements) - 1e-9:
        return len(failed)
    reason, count = Counter(judgement.error or "no reason given" for judgement in failed).most_common(1)[0]
    raise BadResult(
        f"{cell_name}: {len(failed)} of {len(judgements)} responses have no score "
        f"({limit:.0%} or more is an error); {count} times: {reason}"
    )
