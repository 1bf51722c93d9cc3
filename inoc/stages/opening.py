"""A study's store: for reading once its settings are compared, and for writing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from inoc._version import __version__
from inoc.backends.registry import BACKENDS
from inoc.plan import Study
from inoc.plan.identity import identity_changes, store_identity
from inoc.plan.judges import plugins_used
from inoc.plugins import origin, versions
from inoc.stages.doctor.proofs import accept_proofs
from inoc.stages.progress import Watcher
from inoc.store.fingerprint import refuse
from inoc.store.schema import ScoreInfo
from inoc.store.store import Store, open_store
from inoc.store.writer import StoreWriter
from inoc.values import Recipe


def existing(study: Study, scores: bool = False) -> Store | None:
    """The study's store, or None where none is made yet.

    Raises:
        OtherSettings: A prompt changed, or the identity: all of it where `scores` are concerned, else the fields
            that every stage shares.
    """
    if not (study.store / "zarr.json").exists():
        return None
    store = open_store(study.store)
    lines = identity_changes(store.identity, study, scores)
    if store.has("prompts"):
        keys, texts = (map(str, store.read(f"prompts/{name}")) for name in ("prompt", "text"))
        old = dict(zip(keys, texts, strict=True))
        for prompt in study.experiment.prompt_list():
            if old.get(prompt.key, prompt.text) != prompt.text:
                lines.append(f"prompts.{prompt.key}: stored {old[prompt.key]!r}, now {prompt.text!r}")
    refuse(study.store, lines)
    return store


def recipe_of(place: Path) -> Recipe:
    """The recipe of the store at `place`, which all stages follow; `corrected` where there is no store yet."""
    if not (place / "zarr.json").exists():
        return "corrected"
    return "published" if open_store(place).identity.get("recipe") == "published" else "corrected"


def keep_pools(writer: StoreWriter, pools: Mapping[str, Sequence[str]]) -> None:
    """Put the pools that the store does not have yet into it: what scoring and training both choose from."""
    new = {key: pool for key, pool in pools.items() if writer.store.rephrasings.get(key) != tuple(pool)}
    if new:
        writer.put_rephrasings(new)


def threads() -> dict[str, int]:
    """Threads of every loaded library of linear algebra: another number of them changes the last bits of sums."""
    from threadpoolctl import threadpool_info

    found: dict[str, int] = {}
    for pool in threadpool_info():
        kind = str(pool["user_api"])
        found[kind] = max(found.get(kind, 0), int(pool["num_threads"]))
    return dict(sorted(found.items()))


def plugins(study: Study) -> dict[str, dict[str, str]]:
    """The packages other than inoc that the study's backend and judges come from, with their versions, if any."""
    backend = origin(type(study.backend).__module__) or BACKENDS.plugins.get(study.backend.name)
    found = versions([backend, *plugins_used(study.experiment)])
    return {"plugins": found} if found else {}


def score_infos(study: Study) -> list[ScoreInfo]:
    """The scores of the experiment as a store names them."""
    return [
        ScoreInfo(name, score.role or "", score.asked_by(name), score.better or "", score.rate or "")
        for name, score in study.experiment.scores.items()
    ]


def open_writer(study: Study, store: Store | None, watcher: Watcher, stage: str) -> StoreWriter:
    """The study's store for writing, with its prompts; `store` is what `existing` found. A new store is made once
    `backend.check` passes. The store's history names the stage."""
    accept_proofs(study)
    if store is None:
        study.backend.check()
    writer = StoreWriter.open(
        study.store,
        identity=store_identity(study) if store is None else store.identity,
        experiment=study.experiment.model_dump(mode="json", exclude={"cluster"}),
        provenance={"inoc": __version__, "backend": study.backend.name, "threads": threads(), **plugins(study)},
        traits=score_infos(study),
        command=f"inoc {stage}",
    )
    try:
        for note in writer.notes:
            watcher.note(note)
        fields = {"key", "text", "group", "family", "role"}
        writer.put_prompts([prompt.model_dump(include=fields) for prompt in study.experiment.prompt_list()])
    except BaseException as error:
        writer.__exit__(type(error), error, None)
        raise
    return writer
