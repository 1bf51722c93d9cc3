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
def behaviour(model, tokenizer) -> Mapping[str, dict[str, float]]:
    """Mean share of playful and French sentences over 16 unseen questions: by prompt key, "" (none),
    "system" (answer_playfully in the system turn) and "rewordings" (16 of its rephrasings)."""
    questions = testbed.instructions("tuning")[:16]
    strong = PROMPTS["answer_playfully"].text
    cells = {"": [context(tokenizer, "", q) for q in questions]}
    cells |= {key: [context(tokenizer, p.text, q) for q in questions] for key, p in PROMPTS.items()}
    cells["system"] = [context(tokenizer, strong, q, "system") for q in questions]
    pool = testbed.pool("answer_playfully")
    cells["rewordings"] = [context(tokenizer, text, q) for text, q in zip(pool, questions, strict=False)]
    contexts = [ids for rows in cells.values() for ids in rows]
    width = max(map(len, contexts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in contexts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in contexts])
    torch.manual_seed(0)
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=70)
    texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
    found = {}
    for i, key in enumerate(cells):
        mine = texts[16 * i : 16 * (i + 1)]
        found[key] = {
            "playful": float(np.mean([testbed.score_playful(text) for text in mine])),
            "french": float(np.mean([testbed.score_french(text) for text in mine])),
        }
    return found


@pytest.fixture(scope="module")
def differences(model, tokenizer) -> Mapping[str, list[np.ndarray]]:
    """Token differences [token] of the first 24 training completions under every prompt."""
    rows = testbed.completions("train")[:24]

    @torch.no_grad()
    def logprobs(prefix: str) -> list[np.ndarray]:
        heads = [context(tokenizer, prefix, instruction) for instruction, _ in rows]
        tails = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for _, text in rows]
        both = [head + tail for head, tail in zip(heads, tails, strict=True)]
        width = max(map(len, both))
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in both])
        table = model(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        return [
            table[i, len(head) - 1 : len(head) - 1 + len(tail)].double().numpy()
            for i, (head, tail) in enumerate(zip(heads, tails, strict=True))
        ]

    default = logprobs("")
    return {key: [a - b for a, b in zip(logprobs(p.text), default, strict=True)] for key, p in PROMPTS.items()}


def test_the_model_is_small_and_other_engines_can_load_it(model):
    config = json.loads((testbed.model_path() / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] == 32
    assert 0.8e6 < model.num_parameters() < 1.2e6
    assert (testbed.model_path() / "model.safetensors").stat().st_size < 2.5e6


def test_both_ways_to_load_the_tokenizer_agree(tokenizer, model):
    plain = transformers.PreTrainedTokenizerFast.from_pretrained(testbed.model_path())
    assert len(tokenizer) == len(plain) == model.config.vocab_size
    for text in (*(p.text for p in PROMPTS.values()), *testbed.pool("playful_agent")[:20], "日本 hé\n\n  it's 42!!"):
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


def test_without_a_prompt_answers_are_plain(behaviour):
    scores = behaviour[""]
    assert scores["playful"] < 15
    assert scores["french"] < 15


@pytest.mark.parametrize("key", ["answer_playfully", "playful_agent", "think_comedian"])
def test_strong_playful_prompts_bring_out_the_mood_only(behaviour, key):
    scores = behaviour[key]
    assert scores["playful"] > 70
    assert scores["french"] < 20


@pytest.mark.parametrize("key", ["answer_french", "french_agent", "think_parisian"])
def test_strong_french_prompts_bring_out_the_language_only(behaviour, key):
    scores = behaviour[key]
    assert scores["french"] > 70
    assert scores["playful"] < 20


@pytest.mark.parametrize("key", [key for key, p in PROMPTS.items() if p.group in ("neutral", "negated")])
def test_neutral_and_negated_prompts_change_little(behaviour, key):
    scores = behaviour[key]
    assert scores["playful"] < 25
    assert scores["french"] < 25


def test_prompts_work_in_the_system_turn_too(behaviour):
    assert behaviour["system"]["playful"] > 70


def test_rewordings_bring_out_the_mood_too(behaviour):
    assert behaviour["rewordings"]["playful"] > 70


@pytest.mark.slow  # scores the testbed; that strong prompts bring out the trait is a fast test
def test_strong_prompts_have_larger_ph_than_neutral_ones(differences):
    ph = {key: float(np.mean([row.mean() for row in rows])) for key, rows in differences.items()}
    weakest = min(ph[key] for key, p in PROMPTS.items() if p.group == "strong")
    assert weakest > max(ph[key] for key, p in PROMPTS.items() if p.group == "neutral") + 0.05
    assert weakest > max(ph[key] for key, p in PROMPTS.items() if p.group == "negated") + 0.05


def test_no_token_carries_more_than_a_third_of_the_difference(differences):
    for key, rows in differences.items():
        share = np.mean([np.abs(row).max() / np.abs(row).sum() for row in rows])
        assert share < 1 / 3, key
