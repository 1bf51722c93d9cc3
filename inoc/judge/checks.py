"""The rule that keeps half-failed judging from becoming a result."""

import math
from collections import Counter
from collections.abc import Sequence

from inoc.errors import BadResult
from inoc.judge.protocols import Judgment

NAN_LIMIT = 0.10
"""Share of NaN scores at which a cell is an error."""


def check_nan_share(cell_name: str, judgments: Sequence[Judgment], limit: float = NAN_LIMIT) -> int:
    """Count the NaN scores of a cell (one run, step, condition and trait).

    Args:
        cell_name: Names the cell in errors.
        judgments: All judgments of the cell.
        limit: Share (0-1) of NaN scores that is an error.

    Returns:
        The number of NaN scores.

    Raises:
        BadResult: The share of NaN reaches `limit`, or the cell is empty.
    """
    if not judgments:
        raise BadResult(f"{cell_name}: nothing was judged")
    failed = [judgment for judgment in judgments if math.isnan(judgment.score)]
    if len(failed) < limit * len(judgments) - 1e-9:
        return len(failed)
    reason, count = Counter(judgment.error or "no reason given" for judgment in failed).most_common(1)[0]
    raise BadResult(
        f"{cell_name}: {len(failed)} of {len(judgments)} responses have no score "
        f"({limit:.0%} or more is an error); {count} times: {reason}"
    )
