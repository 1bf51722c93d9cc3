"""Hypothesis strategies for requests: shared and unrelated contexts, empty and long completions."""

from hypothesis import strategies as st

from inoc.backends.protocols import ScoreRequest
from inoc.values import TokenIds


def token_ids(vocabulary: int, *, least: int = 0, most: int = 24) -> st.SearchStrategy[TokenIds]:
    """Draw token ids.

    Args:
        vocabulary: Ids are below it.
        least: Fewest tokens.
        most: Most tokens.

    Returns:
        A strategy of tuples.
    """
    return st.lists(st.integers(0, vocabulary - 1), min_size=least, max_size=most).map(tuple)


def score_requests(vocabulary: int, *, most: int = 30) -> st.SearchStrategy[list[ScoreRequest]]:
    """Draw requests whose contexts begin with one of a few shared prefixes.

    Args:
        vocabulary: Token ids are below it.
        most: Most requests of a list.

    Returns:
        A strategy of lists with distinct ids.
    """

    def build(beginnings: list[TokenIds]) -> st.SearchStrategy[list[ScoreRequest]]:
        parts = st.tuples(st.sampled_from(beginnings), token_ids(vocabulary, least=1), token_ids(vocabulary))
        return st.lists(parts, max_size=most).map(
            lambda rows: [
                ScoreRequest(f"request {i}", beginning + own, completion)
                for i, (beginning, own, completion) in enumerate(rows)
            ]
        )

    return st.lists(token_ids(vocabulary), min_size=1, max_size=3).flatmap(build)
