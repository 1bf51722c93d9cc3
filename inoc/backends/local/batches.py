"""Which requests go through the model together: groups that share a context prefix, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inoc.backends.protocols import ScoreRequest

SHARED_LEAST = 8
"""Shortest shared prefix that gets a cache."""
MEMBERS_LEAST = 8
"""Fewest requests for which a longer shared prefix is split off from a larger group."""


@dataclass(frozen=True)
class Group:
    """Requests whose contexts all begin with the same `shared` tokens."""

    shared: int
    requests: tuple[ScoreRequest, ...]


@dataclass(frozen=True)
class Batch:
    """Requests of one group that go through the model together, longest first."""

    group: Group
    requests: tuple[ScoreRequest, ...]

    @property
    def width(self) -> int:
        """Tokens of the longest row after the shared prefix."""
        return suffix_length(self.requests[0], self.group.shared)


def suffix_length(request: ScoreRequest, shared: int) -> int:
    """Tokens fed for this request after `shared`: all but the last one, which nothing is predicted from."""
    return len(request.context) + len(request.completion) - 1 - shared


def group_by_shared_context(requests: Sequence[ScoreRequest]) -> list[Group]:
    """Groups with their longest shared context prefix, at most one token less than the shortest context.

    Sorting makes common prefixes adjacent. A group is split where that saves more than it costs; the rest stays wider.
    """
    ordered = sorted(requests, key=lambda request: request.context)
    return [Group(shared, tuple(members)) for shared, members in _split(ordered) if members]


def _split(ordered: list[ScoreRequest]) -> list[tuple[int, list[ScoreRequest]]]:
    shared = _common(ordered)
    parts: list[list[ScoreRequest]] = []
    for request in ordered:
        if parts and parts[-1][0].context[shared] == request.context[shared]:
            parts[-1].append(request)
        else:
            parts.append([request])
    groups: list[tuple[int, list[ScoreRequest]]] = []
    rest: list[ScoreRequest] = []
    for part in parts:
        longer = _common(part)
        saved = (len(part) - 1) * (longer - shared) - shared
        if len(parts) > 1 and len(part) >= MEMBERS_LEAST and saved > 0:
            groups.extend(_split(part))
        else:
            rest.extend(part)
    return [(shared if shared >= SHARED_LEAST and len(rest) > 1 else 0, rest), *groups]


def _common(ordered: list[ScoreRequest]) -> int:
    """Length of the prefix of all contexts (sorted, so first and last decide), leaving at least one token."""
    first, last = ordered[0].context, ordered[-1].context
    limit = min(len(request.context) for request in ordered) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def cut(group: Group, tokens: int) -> Iterator[Batch]:
    """Batches of at most `tokens` tokens, padding included, longest requests first.

    With a quarter of its tokens a batch takes no row padded by more than a fifth: that costs more than it saves.
    """
    waiting = sorted(group.requests, key=lambda request: -suffix_length(request, group.shared))
    lengths = [suffix_length(request, group.shared) for request in waiting]
    start = 0
    while start < len(waiting):
        width, end = lengths[start], start + 1
        while end < len(waiting) and (end + 1 - start) * width <= tokens:
            if lengths[end] < 0.8 * width and (end - start) * width >= tokens // 4:
                break
            end += 1
        yield Batch(group, tuple(waiting[start:end]))
        start = end
