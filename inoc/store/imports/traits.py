"""Which trait is the positive one and which prompt family asks for which trait."""

from collections.abc import Sequence

from inoc.errors import BadInput
from inoc.store.schema import PromptInfo, TraitInfo


def match_traits(
    mentioned: Sequence[str], prompts: Sequence[PromptInfo], given: Sequence[str]
) -> list[TraitInfo]:
    """Traits of an import, the positive one first.

    Args:
        mentioned: trait names in elicitation and scores.
        prompts: their families and roles say what a trait is: family "german" belongs to trait "German".
        given: `ROLE=NAME` or `ROLE=NAME:FAMILY` from the user, which wins.

    Raises:
        BadInput: a name cannot be matched (the message asks for --trait), or data mention a trait nobody knows.
    """
    families: dict[str, str] = {}
    for prompt in prompts:
        if prompt.role in ("positive", "negative"):
            if families.setdefault(prompt.family, prompt.role) != prompt.role:
                raise BadInput(
                    f"prompts of family {prompt.family!r} have both roles; a family asks for one trait."
                )
    if given:
        traits = [_parse(text, families) for text in given]
    else:
        names = {name.casefold(): name for name in mentioned}
        traits = [TraitInfo(names.get(f.casefold(), f), role, f) for f, role in families.items()]
        lost = [t.name for t in traits if mentioned and t.name.casefold() not in names]
        if (mentioned and not traits) or lost:
            what = f"no trait is named like the prompt family {lost[0]!r}" if lost else "no prompt has a role"
            raise BadInput(
                f"{what}, so the role of {', '.join(mentioned)} is unclear; "
                "say it with --trait positive=NAME:FAMILY --trait negative=NAME:FAMILY."
            )
    for role in ("positive", "negative"):
        several = [t.name for t in traits if t.role == role]
        if len(several) > 1:
            raise BadInput(
                f"{len(several)} {role} traits ({', '.join(several)}), one is meant; choose it with --trait {role}=NAME."
            )
    for name in mentioned:
        if name not in {t.name for t in traits}:
            known = ", ".join(t.name for t in traits)
            raise BadInput(
                f"unknown trait {name!r} in the data (known: {known}); name it with --trait ROLE=NAME."
            )
    return sorted(traits, key=lambda t: t.role != "positive")


def _parse(text: str, families: dict[str, str]) -> TraitInfo:
    role, equals, rest = text.partition("=")
    name, _, family = rest.partition(":")
    if not equals or role not in ("positive", "negative") or not name:
        raise BadInput(
            f"--trait {text!r}: write positive=NAME or negative=NAME, with :FAMILY where it differs."
        )
    if not family:
        near = [f for f in families if f.casefold() == name.casefold()]
        family = near[0] if near else next((f for f, r in families.items() if r == role), name.casefold())
    return TraitInfo(name, role, family)
