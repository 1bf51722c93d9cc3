"""Stage `elicit`: how far each prompt alone brings out the traits in the base model, on the same instructions."""

from collections.abc import Sequence

import numpy as np

from inoc.plan import Study
from inoc.plan.texts import elicitation_texts
from inoc.stages.forecast import Asked, Forecast, Row, answers_row, price_of, to_judge
from inoc.stages.judging import JudgedReport, Scores, judge_responses
from inoc.stages.opening import existing, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import Asking, sample, sample_each
from inoc.stages.stored import elicitation_changes, prompts_elicited
from inoc.store.fingerprint import refuse
from inoc.store.writer import StoreWriter


def elicit(study: Study, prompts: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> JudgedReport:
    """Ask the base model every instruction without a prompt, then with each (of these keys or groups, if any are
    named); judge the answers and store them.

    Raises:
        BadResult: 10 % or more of a prompt's answers could not be judged; the prompt stays pending.
        OtherSettings: The store holds answers to other instructions, or scores of other judges.
    """
    keys = study.prompts(prompts)
    store = existing(study)
    refuse(study.store, elicitation_changes(store, study))
    done = prompts_elicited(store)
    waiting = elicitation_texts(study, [key for key in ("", *keys) if key not in done])
    with open_writer(study, store, watcher, "elicit") as writer:
        watcher.begin("eliciting", len(waiting))
        if study.backend.capabilities.jobs:
            sample(study, list(waiting.values()))
        each = sample_each(study, (Asking([texts]) for texts in waiting.values()))
        for key, (_, (answers,)) in zip(waiting, each, strict=True):
            cell = f"elicitation, {f'prompt {key}' if key else 'no prompt'}"
            responses = [answer.text for answer in answers]
            scores = judge_responses(study.judges, cell, study.instructions, responses)
            _store(study, writer, key, scores)
            watcher.step(key or "no prompt", scores.means(study.judges.scores))
            watcher.measure(f"elicitation/{key or 'no prompt'}", 0, scores.by_name(study.judges.scores))
    judged = sum(1 for key in waiting if key)
    return JudgedReport(judged, len(keys) - judged)


def forecast_elicitation(study: Study, prompts: Sequence[str] = ()) -> Forecast:
    """What `inoc elicit` would do: answers by prompt."""
    keys = study.prompts(prompts)
    store = existing(study)
    refuse(study.store, elicitation_changes(store, study))
    done = prompts_elicited(store)
    rows: list[Row] = []
    for key, texts in elicitation_texts(study, ["", *keys]).items():
        asked = [Asked(texts, key in done)]
        rows.append(answers_row(study, key or "(no prompt)", asked, to_judge(asked)))
    return Forecast("elicit", tuple(rows), price_of(study, sum(row.tokens for row in rows), "sample"))


def _store(study: Study, writer: StoreWriter, key: str, scores: Scores) -> None:
    """The scores of a prompt; "" is the baseline, which has no prompt."""
    empty = np.empty((len(scores.score), 0, scores.score.shape[1]))
    writer.put_elicitation(
        prompts=[key] if key else [],
        traits=study.judges.scores,
        instructions=study.instruction_labels,
        score=scores.score[:, None, :] if key else empty,
        coverage=scores.coverage[:, None, :] if key else empty,
        baseline=None if key else scores.score,
        judges=list(study.judges.identities().values()),
        sampling=study.sampling_settings,
    )
