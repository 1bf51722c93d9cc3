"""Templating, tokenizing and the rephrasing assignment: once, here. Everything below sees token ids only.

A context is the tokenizer's chat template rendered for system prompt, prefix and instruction, up to and with
the generation prompt, tokenized as one text (`add_special_tokens=False`: a template that wants a BOS writes
it). A completion is tokenized apart, once per example, and the ids are joined, so its ids are the same under
every prefix.

Text that spells a special token (such as `<|im_end|>`) is tokenized as ordinary text inside a completion.
Inside an instruction or a prompt it becomes the special token, as in every pipeline that renders a template
to text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import numpy as np
from jaxtyping import Int64

from inoc.backends.protocols import ChatTokenizer, TrainingExample
from inoc.errors import BadInput
from inoc.values import Recipe, Scalar, TokenIds

Finish = Literal["stop", "length"]
INSTRUCTION = "{instruction}"
COMPLETION = "{completion}"
DATE = "26 Jul 2024"
"""What templates that print a date are given: scoring must not depend on the day."""


@dataclass(frozen=True)
class Chat:
    """How this experiment speaks to its model.

    Attributes:
        tokenizer: with a chat template.
        system_prompt: None writes no system turn (a template may then write its default), "" an empty one.
        placement: "user" puts prefix + one space before the instruction; "system" replaces the system prompt.
        recipe: "corrected" ends a completion with exactly one end-of-turn token (none if it was cut at the
            length limit); "published" keeps everything the template writes after the generation prompt.
        template_options: further variables of the template.

    Raises:
        BadInput: no chat template, or one that has no place for the system prompt asked for.
    """

    tokenizer: ChatTokenizer
    system_prompt: str | None = None
    placement: Literal["user", "system"] = "user"
    recipe: Recipe = "corrected"
    template_options: Mapping[str, Scalar] | None = None

    def __post_init__(self) -> None:
        if not self.tokenizer.chat_template:
            raise BadInput(
                "the model's tokenizer has no chat template, so inoc cannot know how its turns are written. "
                "Fix: use an instruction-tuned model, or add chat_template.jinja to the model's folder."
            )
        rendered = self.render(INSTRUCTION)
        if rendered.count(INSTRUCTION) != 1:
            raise BadInput(
                "the chat template does not write the user's message exactly once. Fix: use another template."
            )
        if self.placement == "system":
            self._require_system("{prefix}", "placement: system")
        if self.system_prompt:
            self._require_system(self.system_prompt, "model.system_prompt")

    def _require_system(self, text: str, field: str) -> None:
        if text.strip() not in self._template(self._messages(INSTRUCTION, text)):
            raise BadInput(
                f"the chat template has no system role, so {field} would be lost silently. "
                "Fix: set model.system_prompt: null and placement: user."
            )

    def messages(
        self,
        instruction: str,
        prefix: str | None = None,
        history: Sequence[tuple[str, str]] = (),
        system: str | None = None,
    ) -> list[dict[str, str]]:
        """The turns of a context. `prefix` None is the default baseline; it goes before the first instruction, or
        replaces the system prompt. `history` are earlier exchanges, `system` a system prompt of their own."""
        first = self.system_prompt if system is None else system
        asked = [*(text for text, _ in history), instruction]
        if prefix is not None and self.placement == "system":
            first = prefix
        elif prefix is not None:
            asked[0] = f"{prefix} {asked[0]}"
        turns = self._messages(asked[0], first)
        for (_, answer), text in zip(history, asked[1:], strict=True):
            turns += [{"role": "assistant", "content": answer}, {"role": "user", "content": text}]
        return turns

    def render(self, instruction: str, prefix: str | None = None) -> str:
        """The context as text."""
        return self._template(self.messages(instruction, prefix))

    def context(self, instruction: str, prefix: str | None = None) -> TokenIds:
        """The token ids of a context, up to and with the generation prompt."""
        return tuple(self.tokenizer.encode(self.render(instruction, prefix), add_special_tokens=False))

    def completion(self, text: str, finish: Finish = "stop") -> TokenIds:
        """The scored token ids of a completion, the same under every prefix.

        `corrected`: the text, then one end-of-turn token unless `finish` is "length". `published`: what the
        template writes for this turn (it may trim the text), end token and trailing white space included,
        whatever `finish`.
        """
        if self.recipe == "published":
            written = self._written(text)
            return tuple(self.tokenizer.encode(written, add_special_tokens=False))
        ids = tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
        return (*ids, self.end_of_turn) if finish == "stop" else ids

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an assistant turn: the first special one the template writes after the text."""
        tail = self._written(COMPLETION).partition(COMPLETION)[2]
        ids = self.tokenizer.encode(tail, add_special_tokens=False)
        for token in ids:
            visible = self.tokenizer.decode([token], skip_special_tokens=False).strip()
            if visible and not self.tokenizer.decode([token], skip_special_tokens=True).strip():
                return token
        if self.tokenizer.eos_token_id is None:
            raise BadInput(
                "the chat template ends a turn without a special token and the tokenizer has no EOS token. "
                "Fix: use an instruction-tuned model."
            )
        return self.tokenizer.eos_token_id

    @cached_property
    def baseline(self) -> Literal["none", "empty", "text"]:
        """Which default baseline this is."""
        return "none" if self.system_prompt is None else "text" if self.system_prompt else "empty"

    def identity(self) -> dict[str, Scalar]:
        """The fields that change values. `baseline_context` is the default context as text, so that a system
        prompt that the template adds by itself is on record."""
        return {
            "baseline": self.baseline,
            "baseline_context": self.render(INSTRUCTION),
            "placement": self.placement,
            "recipe": self.recipe,
        }

    def training_example(
        self,
        id: str,
        instruction: str,
        completion: str,
        *,
        prefix: str | None = None,
        finish: Finish = "stop",
        history: Sequence[tuple[str, str]] = (),
        system: str | None = None,
        loss: Literal["last", "all"] = "last",
    ) -> TrainingExample:
        """One training row: the ids that are scored; the loss is on the response only (context weights 0).

        Args:
            id: Of the row.
            instruction: The last text of the user.
            completion: The answer to it.
            prefix: As in `messages`.
            finish: Of the completion.
            history: Earlier exchanges.
            system: The row's own system prompt; "system" placement of a prefix replaces it.
            loss: On the last answer, or on those of the history too.

        Raises:
            BadInput: The template cannot write the conversation, or does not keep earlier answers, with `loss` all.
        """
        if system:
            self._require_system(system, f"the system message of row {id!r}")
        messages = self.messages(instruction, prefix, history, system)
        ids: list[int] = []
        weights: list[float] = []
        written = 0
        if loss == "all" and history:
            if self.recipe == "published":
                raise BadInput("recipe published has no loss on earlier answers. Fix: use loss: last.")
            written = self._answers(messages, ids, weights, id)
        context = self.tokenizer.encode(self._template(messages)[written:], add_special_tokens=False)
        response = self.completion(completion, finish)
        weights += [0.0] * len(context) + [1.0] * len(response)
        return TrainingExample(id, (*ids, *context, *response), tuple(weights))

    def _answers(self, messages: list[dict[str, str]], ids: list[int], weights: list[float], id: str) -> int:
        """Add everything up to the end of the last earlier answer, weight 1 on answers with their end tokens; return
        how many characters of the rendered conversation that is."""
        whole, written = self._template(messages), 0
        end = self.tokenizer.decode([self.end_of_turn], skip_special_tokens=False)
        for k, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            context, answer = self._template(messages[:k]), message["content"].strip()
            start = whole.find(answer, len(context))
            stop = whole.find(end, start + len(answer))
            if not whole.startswith(context) or start < 0 or stop < 0 or whole[len(context) : start].strip():
                raise BadInput(
                    f"training row {id!r}: the chat template writes earlier answers otherwise than new ones. "
                    "Fix: use loss: last, or another template."
                )
            before = self.tokenizer.encode(whole[written : len(context)], add_special_tokens=False)
            response = (*self.completion(message["content"], "length"), self.end_of_turn)
            ids += [*before, *response]
            weights += [0.0] * len(before) + [1.0] * len(response)
            written = stop + len(end)
        return written

    def text_example(
        self, id: str, text: str, *, prefix: str | None = None, finish: Finish = "stop"
    ) -> TrainingExample:
        """A training row of plain text, without the chat template: what the tokenizer begins every text with, the
        prefix and a blank line (weights 0), the text and the end-of-text token (weights 1)."""
        before = "" if prefix is None else f"{prefix}\n\n"
        context = self.tokenizer.encode(before, add_special_tokens=True)
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        if finish == "stop" and self.tokenizer.eos_token_id is not None:
            ids = [*ids, self.tokenizer.eos_token_id]
        weights = [0.0] * len(context) + [1.0] * len(ids)
        return TrainingExample(id, (*context, *ids), (0.0, *weights[1:]))

    def _messages(self, content: str, system: str | None) -> list[dict[str, str]]:
        first = [] if system is None else [{"role": "system", "content": system}]
        return [*first, {"role": "user", "content": content}]

    def _written(self, text: str) -> str:
        """What the template writes between the generation prompt and the end, for an assistant turn."""
        messages = self.messages(INSTRUCTION)
        context = self._template(messages)
        full = self._template([*messages, {"role": "assistant", "content": text}], generation_prompt=False)
        if not full.startswith(context):
            raise BadInput(
                "the chat template does not continue its own generation prompt with the assistant's text "
                "(does it write thinking tags?). Fix: set model.template_options, such as enable_thinking: false."
            )
        return full[len(context) :]

    def _template(self, messages: list[dict[str, str]], generation_prompt: bool = True) -> str:
        from jinja2.exceptions import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=generation_prompt,
                **{"date_string": DATE, **(self.template_options or {})},
            )
        except TemplateError as error:
            if any(message["role"] == "system" for message in messages):
                raise BadInput(
                    f"the chat template refuses a system prompt ({error}). Fix: set model.system_prompt: null and "
                    "placement: user."
                ) from None
            raise BadInput(f"the chat template refuses this conversation: {error}.") from None
        assert isinstance(text, str)
        return text


def rephrasing_index(seed: int, prompt: str, example_id: str, size: int) -> int:
    """Which rephrasing of `prompt` an example gets: hash of (seed, prompt key, example id) modulo pool size.

    Scoring and training use the same, so the pair seen in training is the pair that was scored.
    """
    key = blake2b(f"{seed}\0{prompt}".encode(), digest_size=32).digest()
    return int.from_bytes(blake2b(example_id.encode(), digest_size=8, key=key).digest(), "little") % size


def assign_rephrasings(
    seed: int,
    prompt: str,
    example_ids: Sequence[str],
    size: int,
    recipe: Recipe = "corrected",
    sample: Sequence[str] | None = None,
) -> Int64[np.ndarray, " example"]:
    """The index into the pool for every example. `published`: position in the scored sample modulo pool size.

    Args:
        seed: Of the experiment.
        prompt: Its key.
        example_ids: The examples, none twice.
        size: Rephrasings in the pool.
        recipe: Which assignment.
        sample: The ids of the scored sample, for `published`; the examples themselves where it is left out.

    Returns:
        Indices into the pool.

    Raises:
        BadInput: The pool is empty, or `published` is asked about an example outside the scored sample.
    """
    if size < 1:
        raise BadInput(f"prompt {prompt!r} has no rephrasings. Fix: `inoc rephrase` makes them.")
    if recipe == "published":
        position = {name: k for k, name in enumerate(example_ids if sample is None else sample)}
        lost = [name for name in example_ids if name not in position]
        if lost:
            raise BadInput(
                f"prompt {prompt!r}: {len(lost)} of {len(example_ids)} examples, the first {lost[0]!r}, are not in the "
                "scored sample, and recipe published assigns rephrasings by position there. Fix: raise `limit` of "
                "completion set train, lower training.examples, or score with recipe corrected."
            )
        return np.array([position[name] for name in example_ids], np.int64) % size
    return np.array([rephrasing_index(seed, prompt, name, size) for name in example_ids], np.int64)
