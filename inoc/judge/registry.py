"""Judges by name: inoc's own and those of other packages (entry points of the group "inoc.judges")."""

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

from inoc.judge.lexical import NAMED, named_judge
from inoc.judge.protocols import Judge, JudgeFactory
from inoc.plugins import Plugin, Registry
from inoc.values import Scalar

SHIPPED: Final[Mapping[str, str]] = {
    "logprob": "inoc.judge.logprob:logprob_judge",
    "chat": "inoc.judge.chat:chat_judge",
    "coherence": "inoc.judge.logprob:coherence_judge",
    "alignment": "inoc.judge.logprob:alignment_judge",
    "language": "inoc.judge.language:language_judge",
    "lexical": "inoc.judge.lexical:lexical_judge",
    **NAMED,
}


def _factory(loaded: object, plugin: Plugin) -> JudgeFactory:
    if not callable(loaded):
        raise TypeError(f"{plugin.target} is not a function (trait, options) -> Judge")
    named = NAMED.get(plugin.name) == plugin.target
    return partial(named_judge, plugin.name) if named else cast(JudgeFactory, loaded)


JUDGES: Final = Registry("inoc.judges", "judge", SHIPPED, _factory)


def open_judge(name: str, trait: str, options: Mapping[str, Scalar] | None = None) -> Judge:
    """A judge by name.

    Args:
        name: One of inoc's own, or an entry point of the group "inoc.judges".
        trait: The trait to score.
        options: The judge's own options.

    Returns:
        The judge of this trait.

    Raises:
        BadInput: There is no such judge, or an option is invalid.
        BackendUnavailable: A library, a key or the judge's package is missing or broken.
    """
    return JUDGES.get(name)(trait, options or {})
