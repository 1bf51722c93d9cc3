"""Reading the files an experiment names: completions, instructions, pools. Errors name file and line."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast

import numpy as np

from inoc.errors import BadInput
from inoc.names import unknown
from inoc.reading import read_json, read_json_lines
from inoc.values import Json, Scalar

Item = TypeVar("Item")
RELATIVE = "correct the path; it is relative to the experiment file."


class Example(NamedTuple):
    """An instruction and its completion.

    Attributes:
        id: None twice in a file.
        instruction: The last text of the user; "" in a row of plain text.
        completion: The answer to it, or the plain text.
        finish: "length" where the completion was cut at the length limit.
        history: Earlier exchanges: instruction and answer.
        system: The row's own system message; None for that of the experiment.
        plain: Whether it is a text without turns.
    """

    id: str
    instruction: str
    completion: str
    finish: Literal["stop", "length"] = "stop"
    history: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    plain: bool = False


def read_completions(path: Path, *, system_prompt: str | None = None) -> tuple[Example, ...]:
    """Read a JSONL file of completions.

    A row is `{"instruction": ..., "completion": ...}` or `{"messages": [...]}` with one user and one
    assistant message, optionally after a system message. Optional fields: `id` (text or number; by default the
    row's position in the file, from 0) and `finish` ("stop" or "length"). Other fields are ignored.

    Args:
        path: The file.
        system_prompt: What a system message must equal.

    Returns:
        The examples in file order, with unique ids.

    Raises:
        BadInput: A row is wrong, or there are none; the message names file and line.
    """
    return _read(path, {}, partial(_exchange, system_prompt=system_prompt))


def read_training_rows(path: Path, where: Mapping[str, Scalar]) -> tuple[Example, ...]:
    """Read a JSONL file of rows to train on: completions, as in `read_completions`, conversations or plain texts.

    `messages` may have several exchanges and a system message of its own; `{"text": ...}` is a text without turns.

    Args:
        path: The file.
        where: Only rows whose fields have these values.

    Returns:
        The rows in file order, with unique ids.

    Raises:
        BadInput: A row is wrong, or there are none; the message names file and line.
    """
    return _read(path, where, _training_texts)


def _read(
    path: Path, where: Mapping[str, Scalar], texts_of: Callable[[dict[str, Json], str], Example]
) -> tuple[Example, ...]:
    """The rows of a file; `texts_of` gives the texts of one."""
    examples: list[Example] = []
    seen: dict[str, int] = {}
    values: dict[str, dict[Scalar, None]] = {}
    for line, row in read_json_lines(path, RELATIVE):
        example = _example(row, str(len(seen)), f"{path}, line {line}", texts_of)
        if example.id in seen:
            first = seen[example.id]
            raise BadInput(f"{path}, line {line}: the id {example.id!r} is also on line {first}. Fix: rename one.")
        seen[example.id] = line
        if not where or _has(cast(dict[str, Json], row), where, values):
            examples.append(example)
    if not seen:
        raise BadInput(f"{path} has no rows. Fix: write one JSON object per line.")
    if where and not examples:
        for field, value in where.items():
            if field not in values:
                raise BadInput(f"{path}: {unknown('field', field, values)}")
            if value not in values[field]:
                raise BadInput(f"{path}: {unknown(f'value of {field}', str(value), map(str, values[field]))}")
        raise BadInput(f"{path}: no row has all of {dict(where)}. Fix: correct `where`.")
    return tuple(examples)


def _has(row: Mapping[str, Json], where: Mapping[str, Scalar], values: dict[str, dict[Scalar, None]]) -> bool:
    """Whether a row has these values; those of all its fields are noted in `values`."""
    for field, value in row.items():
        if field not in ("instruction", "completion", "messages", "text", "id") and not isinstance(value, list | dict):
            values.setdefault(field, {})[value] = None
    return all(field in row and (type(row[field]), row[field]) == (type(v), v) for field, v in where.items())


def read_instructions(path: Path) -> tuple[str, ...]:
    """Read JSONL instructions: a string, `{"instruction": ...}` or `{"messages": [...]}` per line.

    Args:
        path: The file.

    Returns:
        The instructions in file order.

    Raises:
        BadInput: A row is wrong, or there are none; the message names file and line.
    """
    texts: list[str] = []
    for line, row in read_json_lines(path, RELATIVE):
        where = f"{path}, line {line}"
        text = row if isinstance(row, str) else _instruction(row, where)
        if not text.strip():
            raise BadInput(f"{where}: the instruction is empty. Fix: remove the row.")
        texts.append(text)
    if not texts:
        raise BadInput(f"{path} has no rows. Fix: write one JSON object per line.")
    return tuple(texts)


def read_questions(path: Path, n: int, seed: int) -> tuple[str, ...]:
    """Distinct questions of a file of instructions.

    Args:
        path: The file.
        n: How many.
        seed: Of the random subset.

    Returns:
        The questions in file order.

    Raises:
        BadInput: A row is wrong, or the file has fewer distinct ones.
    """
    found = tuple(dict.fromkeys(read_instructions(path)))
    if len(found) < n:
        raise BadInput(f"{path} has {len(found)} distinct questions, fewer than n = {n}. Fix: add some or lower n.")
    return subset(found, n, seed)


def read_pool(path: Path) -> tuple[str, ...]:
    """Read a rephrasing pool: a JSON list, or JSONL, of strings or of `{"text" | "rephrasing": ...}`.

    Args:
        path: The file, `.json` for a list.

    Returns:
        The rephrasings in file order.

    Raises:
        BadInput: The file or a rephrasing is wrong; the message names file and line.
    """
    if path.suffix == ".json":
        data = read_json(path)
        if not isinstance(data, list):
            raise BadInput(f"{path}: not a list. Fix: write the pool as a JSON list of strings.")
        rows = [(f"{path}, item {i}", row) for i, row in enumerate(data)]
    else:
        rows = [(f"{path}, line {line}", row) for line, row in read_json_lines(path, RELATIVE)]
    return tuple(_rephrasing(row, where) for where, row in rows)


def read_pools(folder: Path, keys: Sequence[str], size: int) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The pools of prompts in a folder (`<key>.jsonl` or `<key>.json`).

    Args:
        folder: The folder.
        keys: The prompts.
        size: Each pool is cut to its first `size` texts.

    Returns:
        The pools that exist, and a sentence for every pool that is missing, too small or repeats a text.
    """
    pools: dict[str, tuple[str, ...]] = {}
    wrong: list[str] = []
    for key in keys:
        path = next((p for p in (folder / f"{key}.jsonl", folder / f"{key}.json") if p.is_file()), None)
        if path is None:
            wrong.append(f"prompt {key!r} has no pool {folder / key}.jsonl. Fix: `inoc rephrase` makes it.")
            continue
        pool = read_pool(path)
        if len(pool) < size:
            wrong.append(
                f"{path} has {len(pool)} rephrasings, fewer than rephrasings.size = {size}. "
                f"Fix: run `inoc rephrase` again or ask for {len(pool)}."
            )
        elif len(set(pool[:size])) < size:
            wrong.append(f"{path} repeats a rephrasing within its first {size}. Fix: remove the duplicates.")
        pools[key] = pool[:size]
    return pools, wrong


def subset(examples: Sequence[Item], limit: int | None, seed: int | None) -> tuple[Item, ...]:
    """At most `limit` examples, in file order.

    Args:
        examples: All of them.
        limit: How many; None for all.
        seed: Of the random subset; None takes the first `limit`.

    Returns:
        The subset.
    """
    if limit is None or limit >= len(examples):
        return tuple(examples)
    if seed is None:
        return tuple(examples[:limit])
    chosen = np.random.default_rng(seed).choice(len(examples), limit, replace=False)
    return tuple(examples[int(i)] for i in np.sort(chosen))


def _example(row: Json, position: str, where: str, texts_of: Callable[[dict[str, Json], str], Example]) -> Example:
    if not isinstance(row, dict):
        raise BadInput(
            f"{where}: not an object. Fix: write an object with instruction and completion, or with messages."
        )
    example = texts_of(row, where)
    if not example.completion.strip():
        raise BadInput(f"{where}: the completion is empty. Fix: remove the row.")
    name = row.get("id", position)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise BadInput(f"{where}: the id is not text or a whole number. Fix: write one, or leave id out.")
    finish = row.get("finish", "stop")
    if finish not in ("stop", "length"):
        raise BadInput(f'{where}: finish is not "stop" or "length". Fix: write one of them, or leave finish out.')
    return example._replace(id=str(name), finish=finish)


def _exchange(row: dict[str, Json], where: str, system_prompt: str | None = None) -> Example:
    """One instruction and one completion."""
    instruction = _instruction(row, where, system_prompt)
    completion = row.get("completion")
    if "messages" in row:
        completion = read_turns(row["messages"], where, system_prompt).get("assistant")
    if not isinstance(completion, str):
        raise BadInput(f"{where}: the completion is missing or not text. Fix: add `completion` as text.")
    return Example("", instruction, completion)


def _training_texts(row: dict[str, Json], where: str) -> Example:
    """A conversation, a text without turns, or one exchange."""
    if isinstance(text := row.get("text"), str) and "instruction" not in row and "messages" not in row:
        return Example("", "", text, plain=True)
    if "messages" not in row:
        return _exchange(row, where)
    turns = _messages(row["messages"], where)
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else None
    roles = [role for role, _ in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        raise BadInput(
            f"{where}: not a conversation. Fix: keep [system,] user, assistant, and so on, with an assistant last."
        )
    if not all(text.strip() for role, text in turns if role == "assistant"):
        raise BadInput(f"{where}: an answer is empty. Fix: remove the row.")
    texts = [text for _, text in turns]
    *history, (instruction, completion) = zip(texts[::2], texts[1::2], strict=True)
    return Example("", instruction, completion, history=tuple(history), system=system)


def _messages(messages: object, where: str) -> list[tuple[str, str]]:
    """The role and text of every message."""
    turns: list[tuple[str, str]] = []
    for message in cast(list[object], messages) if isinstance(messages, list) else [None]:
        fields = cast(dict[str, object], message) if isinstance(message, dict) else {}
        role, content = fields.get("role"), fields.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise BadInput(
                f"{where}: messages without a role or a text. Fix: write objects with role (system, user, assistant) "
                "and content (text)."
            )
        turns.append((str(role), content))
    return turns


def _instruction(row: Json, where: str, system_prompt: str | None = None) -> str:
    fields = row if isinstance(row, dict) else {}
    if "messages" in fields:
        instruction = read_turns(fields["messages"], where, system_prompt).get("user")
    else:
        instruction = fields.get("instruction")
    if not isinstance(instruction, str):
        raise BadInput(f"{where}: the instruction is missing or not text. Fix: add `instruction` as text.")
    return instruction


def read_turns(messages: object, where: str, system_prompt: str | None) -> dict[str, str]:
    """The texts of a conversation of one exchange.

    Args:
        messages: A list of `{"role": ..., "content": ...}`.
        where: Begins every error.
        system_prompt: What a system message must equal.

    Returns:
        Role to content.

    Raises:
        BadInput: The messages are not one exchange, or have another system message.
    """
    turns: dict[str, str] = {}
    for role, content in _messages(messages, where):
        expected = {"system": not turns, "user": "user" not in turns, "assistant": list(turns)[-1:] == ["user"]}
        if not expected[role] or "assistant" in turns:
            raise BadInput(
                f"{where}: not one exchange. Fix: keep [system,] user, assistant; longer conversations are for "
                "training, named in `data`."
            )
        turns[role] = content
    if "system" in turns and turns["system"] != (system_prompt or ""):
        raise BadInput(
            f"{where}: its system message is not the experiment's model.system_prompt. "
            "Fix: remove it from the data or set model.system_prompt to it."
        )
    return turns


def _rephrasing(row: Json, where: str) -> str:
    if isinstance(row, dict):
        row = row.get("text", row.get("rephrasing"))
    if not isinstance(row, str) or not row.strip():
        raise BadInput(f"{where}: not a rephrasing. Fix: write a non-empty string (or an object with `text`).")
    return row
