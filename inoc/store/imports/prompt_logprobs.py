"""Importer of saved replies of completion servers: `prompt_logprobs` (vLLM), or `echo` with logprobs (OpenAI)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from inoc.errors import BadInput
from inoc.store.imports.log_files import LogFiles
from inoc.store.imports.reading import Node, head, load_jsonl
from inoc.store.imports.rows import LogprobRow


@dataclass(frozen=True)
class PromptLogprobs(LogFiles):
    """JSONL with one reply on a line, as batches write them (`custom_id`, `response.body`) or the body with an `id`.

    Attributes:
        completions: JSONL with `id`, `completion` and perhaps `instruction`: the id is that of the reply, and the
            completion is what the prompt that was sent ends with, but for the tokens of the template.
    """

    completions: str = ""

    def sniff(self, paths: Sequence[Path]) -> bool:
        """Whether the files hold such replies."""
        return all('"prompt_logprobs"' in (text := head(path)) or '"token_logprobs"' in text for path in paths)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow]:
        """One row for each reply."""
        if not self.completions:
            raise BadInput(
                "a reply does not say where its completion begins. Fix: name a file of completions with "
                "--format prompt_logprobs --option completions=FILE.jsonl."
            )
        texts = {str(row["id"].value): row for row in load_jsonl(Path(self.completions))}
        for path in paths:
            _, prompt, kind = self.run(path)
            for row in load_jsonl(path):
                example = str((row["custom_id"] if "custom_id" in row else row["id"]).value)
                if example not in texts:
                    raise BadInput(f"{row.where}: {self.completions} has no completion {example!r}. Fix: add it.")
                given = texts[example]
                completion = given["completion"].text()
                body = row["response"]["body"] if "response" in row else row
                tokens, ids, values = _tokens(body)
                first, last = _place(tokens, completion, row.where)
                yield LogprobRow(
                    example,
                    Node(values[first:last], f"{row.where}: logprobs").logprobs().tolist(),
                    prompt,
                    kind,
                    ids and ids[first:last],
                    completion_set=self.completion_set,
                    instruction=given["instruction"].text() if "instruction" in given else None,
                    completion=completion,
                    where=row.where,
                )


def _tokens(body: Node) -> tuple[list[str], list[int] | None, list[object]]:
    """Texts, ids where known, and logprobs of every token of the prompt that was sent."""
    choice = body["choices"].rows()[0]
    found = next((node["prompt_logprobs"] for node in (choice, body) if node.get("prompt_logprobs").value), None)
    if found is None:
        echoed = choice["logprobs"]
        return (
            [node.text() for node in echoed["tokens"].rows()],
            None,
            [n.value for n in echoed["token_logprobs"].rows()],
        )
    sent = next((node["prompt_token_ids"] for node in (choice, body) if node.get("prompt_token_ids").value), None)
    texts, ids, values = [""], list[int](), list[object]([None])
    places = found.rows()
    known = [node.integer() for node in sent.rows()] if sent is not None else None
    for place, node in enumerate(places[1:], start=1):
        options = node.items()
        if known is None and len(options) != 1:
            raise BadInput(
                f"{node.where} has {len(options)} tokens and nothing says which was sent. "
                "Fix: ask with prompt_logprobs=0, or with return_token_ids."
            )
        token = str(known[place]) if known is not None and place < len(known) else options[0][0]
        ids.append(Node(token, node.where).integer())
        texts.append(node[token]["decoded_token"].text())
        values.append(node[token]["logprob"].value)
    return texts, [-1 if known is None else known[0], *ids], values


def _place(tokens: Sequence[str], completion: str, where: str) -> tuple[int, int]:
    """The tokens that are the completion: the last place where the text is, at the ends of tokens."""
    ends = list(accumulate(map(len, tokens), initial=0))
    start = "".join(tokens).rfind(completion)
    stop = start + len(completion)
    if start < 0 or start not in ends or stop not in ends:
        raise BadInput(
            f"{where}: its tokens do not hold the completion {completion[:40]!r} from one end of a token to another. "
            "Fix: send the prompt with the completion at the end, as the file of completions has it."
        )
    first = max(i for i, end in enumerate(ends) if end == start)
    return first, min(i for i, end in enumerate(ends) if end == stop and i >= first)
