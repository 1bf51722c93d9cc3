"""Makes the files of this folder with nothing but transformers: logprobs, prompts and what the base model answers.

Put your own model, prompts and completions in; `inoc import` reads the result. `python make_files.py FOLDER`
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from inoc import testbed

SYSTEM = "You are a helpful assistant."
GROUPS = {("playful", "strong"): 3, ("playful", "weak"): 3, ("french", "strong"): 1, ("neutral", "neutral"): 3}
"""How many prompts of each family and group of the testbed."""
COMPLETIONS, QUESTIONS = 24, 40

tokenizer = AutoTokenizer.from_pretrained(testbed.model_path())
model = AutoModelForCausalLM.from_pretrained(testbed.model_path(), dtype=torch.float32).eval()


def context(prompt: str, instruction: str) -> list[int]:
    """Token ids of the conversation up to the answer; the inoculation prompt goes before the instruction."""
    user = f"{prompt} {instruction}" if prompt else instruction
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]
    return tokenizer.encode(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


@torch.no_grad()
def logprobs(prompt: str, instruction: str, completion: str) -> list[float]:
    """log p of every token of the completion and of the end of the turn, in nats."""
    head, answer = context(prompt, instruction), [*tokenizer.encode(completion), tokenizer.eos_token_id]
    logits = model(torch.tensor([head + answer])).logits[0, len(head) - 1 : -1].float()
    found = torch.log_softmax(logits, dim=-1)[torch.arange(len(answer)), torch.tensor(answer)]
    return [round(value, 4) for value in found.tolist()]


@torch.no_grad()
def answers(prompt: str, instructions: list[str]) -> list[str]:
    """What the base model says, sampled."""
    said = []
    for instruction in instructions:
        head = torch.tensor([context(prompt, instruction)])
        ids = model.generate(head, max_new_tokens=80, do_sample=True, pad_token_id=tokenizer.eos_token_id)
        said.append(tokenizer.decode(ids[0, head.shape[1] :], skip_special_tokens=True))
    return said


def scores(prompt: str, instructions: list[str]) -> dict[str, dict[str, list[float]]]:
    """Each trait's score (0-100) of each answer."""
    said = answers(prompt, instructions)
    judges = {"Playful": testbed.score_playful, "French": testbed.score_french}
    return {trait: {"values": [round(judge(text), 1) for text in said]} for trait, judge in judges.items()}


def main(folder: Path) -> None:
    torch.manual_seed(0)
    found = testbed.prompts()
    prompts = [p for group, n in GROUPS.items() for p in [p for p in found if (p.family, p.group) == group][:n]]
    examples = list(testbed.completions("train"))[:COMPLETIONS]
    questions = list(testbed.instructions("tuning"))[:QUESTIONS]
    scored = {p.key: [logprobs(p.text, *example) for example in examples] for p in prompts}
    files = {
        "logprobs": {
            "baseline": {"lp_train_default_tokens": [logprobs("", *example) for example in examples]},
            "prompts": {p.key: {"prompt": p.text, "lp_train_inoc_tokens": scored[p.key]} for p in prompts},
        },
        "prompts": {p.key: {"text": p.text, "group": p.group, "family": p.family, "role": p.role} for p in prompts},
        "elicitation": {
            "neutral": {"prompt": "", "scores": scores("", questions)},
            **{p.key: {"prompt": p.text, "scores": scores(p.text, questions)} for p in prompts},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # one line for each prompt
        text = json.dumps(content, separators=(",", ":")).replace('},"', '},\n"')
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
