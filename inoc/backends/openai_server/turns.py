"""Conversations as token ids, for services that take messages only: every byte a token, every role a token.

Stages pass token ids to backends. A hosted model's own tokenizer is not available, so these ids encode the text
itself and decode to exactly the messages they came from.
"""

from collections.abc import Sequence
from typing import Final

from inoc.errors import BadInput
from inoc.values import TokenIds

ROLES: Final = {"system": 256, "user": 257, "assistant": 258}
END: Final = 259
MARKS: Final = {256: "\ue100", 257: "\ue101", 258: "\ue102", END: "\ue103"}
"""Private-use characters that represent the special tokens in rendered text."""
TEMPLATE: Final = "each turn: its role's token, its text as UTF-8 bytes, the end token; then the assistant's token"
_IDS: Final = {mark: token for token, mark in MARKS.items()}
_NAMES: Final = {token: role for role, token in ROLES.items()}


class TurnTokenizer:
    """The part of a tokenizer that `inoc.chat` uses."""

    def __init__(self) -> None:
        self.chat_template: str | None = TEMPLATE
        self.eos_token_id: int | None = END

    def __len__(self) -> int:
        return 260

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> object:
        """The conversation with marks for the special tokens; BadInput for an unknown role."""
        parts: list[str] = []
        for message in conversation:
            if message["role"] not in ROLES:
                raise BadInput(f"a chat service has no role {message['role']!r}.")
            parts.append(MARKS[ROLES[message["role"]]] + message["content"] + MARKS[END])
        if kwargs.get("add_generation_prompt"):
            parts.append(MARKS[ROLES["assistant"]])
        return "".join(parts)

    def encode(self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False) -> list[int]:
        """UTF-8 bytes; marks become special tokens unless `split_special_tokens`. Nothing is added."""
        ids: list[int] = []
        for character in text:
            if character in _IDS and not split_special_tokens:
                ids.append(_IDS[character])
            else:
                ids.extend(character.encode("utf-8", errors="replace"))
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text; special tokens as their marks, or left out."""
        parts: list[str] = []
        text = bytearray()
        for token in token_ids:
            if token < 256:
                text.append(token)
                continue
            parts += [text.decode("utf-8", errors="replace"), "" if skip_special_tokens else MARKS[token]]
            text = bytearray()
        return "".join([*parts, text.decode("utf-8", errors="replace")])


def to_messages(ids: TokenIds, id: str) -> tuple[dict[str, str], ...]:
    """The messages that the ids of request `id` encode, else BadInput. An assistant's turn may lack its end token."""
    messages: list[dict[str, str]] = []
    role: int | None = None
    text = bytearray()
    for token in ids:
        if token in _NAMES and role is None:
            role, text = token, bytearray()
        elif token == END and role is not None:
            messages.append({"role": _NAMES[role], "content": text.decode("utf-8", errors="replace")})
            role = None
        elif token < 256 and role is not None:
            text.append(token)
        else:
            raise BadInput(f"'{id}' is not a conversation of system, user and assistant turns.")
    if role == ROLES["assistant"] and text:
        messages.append({"role": "assistant", "content": text.decode("utf-8", errors="replace")})
    elif role is not None and role != ROLES["assistant"]:
        raise BadInput(f"'{id}' ends inside a turn.")
    if not messages:
        raise BadInput(f"'{id}' is an empty conversation.")
    return tuple(messages)
