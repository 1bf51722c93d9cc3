"""Finding judges by name: the shipped ones and plugins of the entry-point group "inoc.judges"."""

import difflib
import importlib
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final, cast

from inoc.errors import BadInput
from inoc.judge.protocols import Judge, JudgeFactory
from inoc.values import Scalar

GROUP: Final = "inoc.judges"
SHIPPED: Final[Mapping[str, tuple[str, str]]] = {
    "logprob": ("inoc.judge.logprob", "logprob_judge"),
    "coherence": ("inoc.judge.logprob", "coherence_judge"),
    "alignment": ("inoc.judge.logprob", "alignment_judge"),
    "language": ("inoc.judge.language", "language_judge"),
    "lexical": ("inoc.judge.lexical", "lexical_judge"),
}
"""name -> (module, attribute), imported when first asked for."""


def judge_names() -> tuple[str, ...]:
    """Every name `open_judge` knows: shipped ones, named scoring functions, plugins (not imported)."""
    from inoc.judge.lexical import NAMED

    plugins = sorted({point.name for point in entry_points(group=GROUP)} - set(SHIPPED))
    return (*SHIPPED, *NAMED, *plugins)


def open_judge(name: str, trait: str, options: Mapping[str, Scalar] | None = None) -> Judge:
    """The judge `name` for `trait`.

    A shipped name wins over a plugin's. A plugin that cannot be imported is a warning naming it; an unknown
    name is BadInput that lists what there is.
    """
    from inoc.judge.lexical import NAMED, named_judge

    options = options or {}
    if name in SHIPPED:
        module, attribute = SHIPPED[name]
        return cast(JudgeFactory, getattr(importlib.import_module(module), attribute))(trait, options)
    if name in NAMED:
        if options:
            raise BadInput(f"judge of {trait}: {name} takes no options")
        return named_judge(name)
    for point in entry_points(group=GROUP, name=name):
        try:
            factory = cast(JudgeFactory, point.load())
        except Exception as error:
            warnings.warn(
                f"judge plugin {name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        return factory(trait, options)
    near = difflib.get_close_matches(name, judge_names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise BadInput(f"no judge {name!r} for trait {trait!r}{hint} There are {', '.join(judge_names())}.")
