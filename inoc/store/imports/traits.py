"""Which trait is the positive one and which prompt family asks for which trait."""

from collections.abc import Collection, Mapping, Sequence

from inoc.errors import BadInput
from inoc.store.schema import PromptInfo, ScoreInfo


def match_traits(
    mentioned: Sequence[str],
    prompts: Sequence[PromptInfo],
    given: Sequence[str],
    known: Sequence[ScoreInfo] = (),
    judged: Collection[str] = (),
) -> list[ScoreInfo]:
    """Traits of an import, the positive one first: those that families and roles of the prompts define (family "german"
    belongs to trait "German"), those that the user gave as `ROLE=NAME[:FAMILY]`, which win, and those stored already,
    of which only the `judged` keep a name that differs from the data's. BadInput where the data mention a trait that
    nobody defines, or a role is not clear."""
    families: dict[str, str] = {}
    for prompt in prompts:
        asks = prompt.role in ("positive", "negative")
        if asks and families.setdefault(prompt.family, prompt.role) != prompt.role:
            raise BadInput(f"prompts of family {prompt.family!r} have both roles. Fix: give each family one role.")
    names = {name.casefold(): name for name in mentioned}
    if given:
        traits = [_parse(text, families) for text in given]
    else:
        known = [t for t in known if t.name in judged or names.get(t.family.casefold(), t.name) == t.name]
        stored = {trait.family for trait in known}
        traits = [ScoreInfo(names.get(f.casefold(), f), role, f) for f, role in families.items() if f not in stored]
    traits = list({trait.name: trait for trait in (*known, *traits)}.values())
    for role in ("positive", "negative"):
        several = [t.name for t in traits if t.role == role]
        if len(several) > 1:
            raise BadInput(
                f"{len(several)} {role} traits ({', '.join(several)}), where one is expected. "
                f"Fix: choose it with --trait {role}=NAME:FAMILY."
            )
    for name in mentioned:
        if name not in {t.name for t in traits}:
            there = ", ".join(t.name for t in traits) or "none; prompts with family and role define them"
            raise BadInput(
                f"unknown trait {name!r} in the data (known: {there}). "
                "Fix: define it with --trait positive=NAME:FAMILY or --trait negative=NAME:FAMILY."
            )
    return sorted(traits, key=lambda t: t.role != "positive")


def _parse(text: str, families: Mapping[str, str]) -> ScoreInfo:
    role, equals, rest = text.partition("=")
    name, _, family = rest.partition(":")
    if not equals or role not in ("positive", "negative") or not name:
        raise BadInput(
            f"--trait {text!r} is not ROLE=NAME. "
            "Fix: write positive=NAME or negative=NAME, with :FAMILY where it differs."
        )
    if not family:
        near = [f for f in families if f.casefold() == name.casefold()]
        of_role = [f for f, r in families.items() if r == role]
        family = (near or of_role or [name.casefold()])[0]
    return ScoreInfo(name, role, family)
