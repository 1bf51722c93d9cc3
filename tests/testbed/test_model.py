"""The shipped model: what it is, and that it follows prompts it has never seen."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from inoc import testbed  # noqa: E402

pytestmark = pytest.mark.torch
PROMPTS = {p.key: p for p in testbed.prompts()}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(testbed.model_path())


@pytest.fixture(scope="module")
def model():
    return transformers.AutoModelForCausalLM.from_pretrained(testbed.model_path(), dtype=torch.float32).eval()


def context(tokenizer, prefix: str, instruction: str, placement: str = "user") -> list[int]:
    system, user = testbed.SYSTEM_PROMPT, f"{prefix} {instruction}".strip()
    if placement == "system" and prefix:
        system, user = prefix, instruction
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.fixture(scope="module")
def answers(model, tokenizer):
    """scores(prefix) -> mean share of playful and French sentences over 40 answers to unseen questions."""

    @torch.no_grad()
    def scores(prefix: str, placement: str = "user") -> dict[str, float]:
        contexts = [
            context(tokenizer, prefix, text, placement) for text in testbed.instructions("tuning")[:40]
        ]
        torch.manual_seed(0)
        texts: list[str] = []
        for length in sorted({len(ids) for ids in contexts}):
            ids = torch.tensor([row for row in contexts if len(row) == length])
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                max_new_tokens=100,
            )
            texts += tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
        return {
            "playful": float(np.mean([testbed.score_playful(text) for text in texts])),
            "french": float(np.mean([testbed.score_french(text) for text in texts])),
        }

    return scores


@pytest.fixture(scope="module")
def differences(model, tokenizer) -> Mapping[str, list[np.ndarray]]:
    """Token differences [token] of the first 24 training completions under every prompt."""
    rows = testbed.completions("train")[:24]

    @torch.no_grad()
    def logprobs(prefix: str) -> list[np.ndarray]:
        found = []
        for instruction, completion in rows:
            head = context(tokenizer, prefix, instruction)
            tail = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
            table = model(input_ids=torch.tensor([head + tail])).logits[0].log_softmax(-1)[len(head) - 1 : -1]
            found.append(table.gather(1, torch.tensor(tail)[:, None])[:, 0].double().numpy())
        return found

    default = logprobs("")
    return {
        key: [a - b for a, b in zip(logprobs(p.text), default, strict=True)] for key, p in PROMPTS.items()
    }


def test_the_model_is_small_and_other_engines_can_load_it(model):
    config = json.loads((testbed.model_path() / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] == 32
    assert 0.8e6 < model.num_parameters() < 1.2e6
    assert (testbed.model_path() / "model.safetensors").stat().st_size < 2.5e6


def test_both_ways_to_load_the_tokenizer_agree(tokenizer, model):
    plain = transformers.PreTrainedTokenizerFast.from_pretrained(testbed.model_path())
    assert len(tokenizer) == len(plain) == model.config.vocab_size
    for text in (
        *(p.text for p in PROMPTS.values()),
        *testbed.pool("playful_agent")[:20],
        "日本 hé\n\n  it's 42!!",
    ):
        assert tokenizer.encode(text) == plain.encode(text)


@pytest.mark.parametrize(
    "text", ["日本語 ✓", " leading and  double  spaces ", "a\n\n\tb\r\n", "it's 3.14e-5!!", "\x00\x7f"]
)
def test_any_text_survives_a_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_completions_survive_a_round_trip(tokenizer):
    for name in ("train", "control"):
        for instruction, completion in testbed.completions(name)[:100]:
            for text in (instruction, completion):
                assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_template_writes_one_end_of_turn_and_nothing_after_it(tokenizer):
    messages = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "The cat."}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    opened = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert whole == opened + "The cat.<|end|>"
    assert tokenizer.encode("<|end|>", add_special_tokens=False) == [tokenizer.eos_token_id]
    assert opened == "<|user|>Hello?<|end|><|assistant|>"  # no default system prompt
    system = tokenizer.apply_chat_template([{"role": "system", "content": ""}, *messages[:1]], tokenize=False)
    assert system == "<|system|><|end|><|user|>Hello?<|end|>"  # none and empty differ


def test_without_a_prompt_answers_are_plain(answers):
    scores = answers("")
    assert scores["playful"] < 15
    assert scores["french"] < 15


@pytest.mark.parametrize("key", ["answer_playfully", "playful_agent", "think_comedian"])
def test_strong_playful_prompts_bring_out_the_mood_only(answers, key):
    scores = answers(PROMPTS[key].text)
    assert scores["playful"] > 70
    assert scores["french"] < 20


@pytest.mark.parametrize("key", ["answer_french", "french_agent", "think_parisian"])
def test_strong_french_prompts_bring_out_the_language_only(answers, key):
    scores = answers(PROMPTS[key].text)
    assert scores["french"] > 70
    assert scores["playful"] < 20


@pytest.mark.parametrize("key", [key for key, p in PROMPTS.items() if p.group in ("neutral", "negated")])
def test_neutral_and_negated_prompts_change_little(answers, key):
    scores = answers(PROMPTS[key].text)
    assert scores["playful"] < 25
    assert scores["french"] < 25


def test_prompts_work_in_the_system_turn(answers):
    assert answers(PROMPTS["answer_playfully"].text, "system")["playful"] > 70


def test_rewordings_bring_out_the_mood_too(answers):
    found = [answers(text)["playful"] for text in testbed.pool("answer_playfully")[:4]]
    assert np.mean(found) > 70


def test_strong_prompts_have_larger_ph_than_neutral_ones(differences):
    ph = {key: float(np.mean([row.mean() for row in rows])) for key, rows in differences.items()}
    weakest = min(ph[key] for key, p in PROMPTS.items() if p.group == "strong")
    assert weakest > max(ph[key] for key, p in PROMPTS.items() if p.group == "neutral") + 0.05
    assert weakest > max(ph[key] for key, p in PROMPTS.items() if p.group == "negated") + 0.05


def test_no_token_carries_more_than_a_third_of_the_difference(differences):
    for key, rows in differences.items():
        share = np.mean([np.abs(row).max() / np.abs(row).sum() for row in rows])
        assert share < 1 / 3, key
