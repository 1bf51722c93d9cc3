"""Templating and tokenising on three families of templates, against transformers' own apply_chat_template."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.chat import Chat, assign_rephrasings, rephrasing_index
from inoc.errors import BadInput

pytestmark = pytest.mark.torch
transformers = pytest.importorskip("transformers")
STYLES = ("qwen2", "llama", "gemma")
TAIL = {"qwen2": "<|im_end|>\n", "llama": "<|eot_id|>", "gemma": "<end_of_turn>\n"}
END = {"qwen2": "<|im_end|>", "llama": "<|eot_id|>", "gemma": "<end_of_turn>"}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, "transformers.PreTrainedTokenizerBase"]:
    from inoc.testing.tiny_models import _write_tokenizer

    found = {}
    for style in STYLES:
        folder = tmp_path_factory.mktemp(style)
        _write_tokenizer(folder, style)
        found[style] = transformers.AutoTokenizer.from_pretrained(folder)
    return found


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tokenizer(style: str, tokenizers: dict) -> "transformers.PreTrainedTokenizerBase":
    return tokenizers[style]


def test_context_is_what_transformers_makes(tokenizer, style: str) -> None:
    system = None if style == "gemma" else "Be kind."
    chat = Chat(tokenizer, system)
    turns = [] if system is None else [{"role": "system", "content": system}]
    for prefix, content in ((None, "Hi there"), ("Answer in French.", "Answer in French. Hi there")):
        expected = tokenizer.apply_chat_template(
            [*turns, {"role": "user", "content": content}], add_generation_prompt=True, return_dict=False
        )
        assert list(chat.context("Hi there", prefix)) == expected


def test_exactly_one_begin_of_text(tokenizer) -> None:
    ids = Chat(tokenizer).context("Hi", "Prefix.")
    if tokenizer.bos_token_id is not None:
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1


def test_a_tokenizer_that_adds_a_begin_of_text_adds_none_here(tokenizers: dict) -> None:
    from tokenizers.processors import TemplateProcessing

    plain = tokenizers["llama"]
    adding = copy.deepcopy(plain)
    begin = (plain.bos_token, plain.bos_token_id)
    adding.backend_tokenizer.post_processor = TemplateProcessing(single=f"{plain.bos_token} $A", special_tokens=[begin])
    assert adding.encode("Hi") == [plain.bos_token_id, *plain.encode("Hi")]
    for recipe in ("corrected", "published"):
        one, other = Chat(plain, recipe=recipe), Chat(adding, recipe=recipe)
        assert other.completion("Yes") == one.completion("Yes")
        assert other.context("Hi", "A.") == one.context("Hi", "A.")
        assert other.end_of_turn == one.end_of_turn


def test_completion_ids_are_joined_and_the_same_under_every_prefix(tokenizer, style: str) -> None:
    chat = Chat(tokenizer)
    ids = chat.completion("Bonjour, ça va ? 🐈")
    for prefix in (None, "A.", "You are a clown. Give an answer:"):
        row = chat.training_example("0", "Hi", "Bonjour, ça va ? 🐈", prefix=prefix)
        context = chat.context("Hi", prefix)
        assert row.token_ids == context + ids
        assert row.weights == (0.0,) * len(context) + (1.0,) * len(ids)


def test_one_end_token_or_none_or_all_that_the_template_writes(tokenizer, style: str) -> None:
    end = tokenizer.convert_tokens_to_ids(END[style])
    text = tokenizer.encode("Salut", add_special_tokens=False)
    assert list(Chat(tokenizer).completion("Salut")) == [*text, end]
    assert list(Chat(tokenizer).completion("Salut", "length")) == text
    tail = tokenizer.encode(TAIL[style], add_special_tokens=False)
    assert list(Chat(tokenizer, recipe="published").completion("Salut")) == [*text, *tail]


def test_text_that_a_template_writes_before_the_end_token_is_not_the_end(tokenizers: dict) -> None:
    """The end of turn is the first special token after the answer: neither a visible word nor white space."""
    written = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% if m.role == 'assistant' %}OVER ENDS{% endif %}"
    template = written + "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    qwen = copy.deepcopy(tokenizers["qwen2"])
    qwen.chat_template = template.replace("ENDS", "<|im_end|><|endoftext|>")
    chat = Chat(qwen)
    assert chat.end_of_turn == qwen.convert_tokens_to_ids("<|im_end|>")
    assert chat.completion("Yes")[-1] == chat.end_of_turn
    qwen.eos_token = "<|endoftext|>"
    assert Chat(qwen).end_of_turn == chat.end_of_turn, "what the template writes, whatever the tokenizer calls its end"
    qwen.chat_template = template
    assert Chat(qwen).end_of_turn == qwen.convert_tokens_to_ids("<|endoftext|>"), "the template has none"
    qwen.eos_token = None
    with pytest.raises(BadInput, match="without a special token"):
        _ = Chat(qwen).end_of_turn


def test_published_is_the_template_s_own_assistant_turn(tokenizer, style: str) -> None:
    chat = Chat(tokenizer, recipe="published")
    full = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Salut toi"}], return_dict=False
    )
    assert list(chat.context("Hi") + chat.completion("Salut toi")) == full


def test_special_token_text_in_a_completion_is_text(tokenizer, style: str) -> None:
    chat = Chat(tokenizer)
    end = tokenizer.convert_tokens_to_ids(END[style])
    ids = chat.completion(f"a{END[style]}b")
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert tokenizer.decode(ids[:-1]) == f"a{END[style]}b"


def test_no_empty_and_given_system_prompt_are_three_baselines(tokenizers: dict) -> None:
    chats = [Chat(tokenizers["qwen2"], system) for system in (None, "", "S")]
    assert [chat.baseline for chat in chats] == ["none", "empty", "text"]
    contexts = [str(chat.identity()["baseline_context"]) for chat in chats]
    assert len(set(contexts)) == 3
    assert "You are tiny." in contexts[0]  # the template's own default is on record
    assert "You are tiny." not in contexts[1]


def test_system_placement_replaces_the_system_prompt(tokenizers: dict) -> None:
    chat = Chat(tokenizers["llama"], "Be kind.", placement="system")
    assert "Be kind." in chat.render("Hi")
    assert "Be kind." not in chat.render("Hi", "Be evil.")
    assert chat.messages("Hi", "Be evil.") == [
        {"role": "system", "content": "Be evil."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize(("system", "placement"), [("S", "user"), ("", "user"), (None, "system")])
def test_a_template_without_system_role_is_refused(tokenizers: dict, system, placement) -> None:
    with pytest.raises(BadInput, match=r"system.* set model\.system_prompt: null and\s+placement: user"):
        Chat(tokenizers["gemma"], system, placement)


def test_a_template_that_drops_the_system_prompt_is_refused(tokenizers: dict, monkeypatch) -> None:
    dropping = "{% for m in messages if m.role != 'system' %}<s>{{ m.content }}{% endfor %}<a>"
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", dropping)
    with pytest.raises(BadInput, match=r"no system role, so model\.system_prompt would be lost"):
        Chat(tokenizers["qwen2"], "Be kind.")
    with pytest.raises(BadInput, match=r"no system role, so the system message of row 'r' would be lost"):
        Chat(tokenizers["qwen2"]).training_example("r", "Hi", "Ho", system="Be odd.")
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", None)
    with pytest.raises(BadInput, match="no chat template"):
        Chat(tokenizers["qwen2"])


def test_templates_with_a_date_do_not_depend_on_the_day(tokenizers: dict, monkeypatch) -> None:
    dated = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%s') %}{% endif %}"
        "{{ date_string }}{{ messages[0].content }}"
    )
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", dated)
    assert Chat(tokenizers["qwen2"]).render("Hi") == "26 Jul 2024Hi"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages[0].content }} {{ messages[0].content }}", "not write the user's message exactly once"),
        ("nothing", "not write the user's message exactly once"),
        ("{{ raise_exception('no turns today') }}", r"refuses this conversation: no turns today\."),
    ],
)
def test_templates_that_cannot_be_used_are_refused(tokenizers: dict, monkeypatch, template: str, words: str) -> None:
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", template)
    with pytest.raises(BadInput, match=words):
        Chat(tokenizers["qwen2"])


def test_a_template_that_does_not_continue_its_own_prompt_is_refused(tokenizers: dict, monkeypatch) -> None:
    asked, answered = "{% if add_generation_prompt %}<think>", "{% else %}{{ messages[1].content }}{% endif %}"
    thinking = "{{ messages[0].content }}<a>" + asked + answered
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", thinking)
    chat = Chat(tokenizers["qwen2"])
    with pytest.raises(BadInput, match=r"does not continue its own generation prompt.*enable_thinking: false"):
        _ = chat.end_of_turn


def test_identity_holds_what_changes_values(tokenizers: dict) -> None:
    chat = Chat(tokenizers["llama"], "Be kind.", placement="system", recipe="published")
    assert chat.identity() == {
        "baseline": "text",
        "baseline_context": chat.render("{instruction}"),
        "placement": "system",
        "recipe": "published",
    }
    assert "Be kind." in str(chat.identity()["baseline_context"])


def test_template_options_reach_the_template(tokenizers: dict, monkeypatch) -> None:
    thinking = "{{ messages[0].content }}<a>{% if not enable_thinking %}<think></think>{% endif %}"
    monkeypatch.setattr(tokenizers["qwen2"], "chat_template", thinking)
    chat = Chat(tokenizers["qwen2"], template_options={"enable_thinking": False})
    assert chat.render("Hi") == "Hi<a><think></think>"


names = st.text(min_size=0, max_size=8)


@given(st.integers(), names, names, st.integers(1, 1000))
def test_rephrasing_index_is_in_range_and_repeatable(seed: int, prompt: str, example: str, size: int) -> None:
    index = rephrasing_index(seed, prompt, example, size)
    assert 0 <= index < size
    assert index == rephrasing_index(seed, prompt, example, size)


def test_rephrasings_are_spread_evenly_and_depend_on_every_part() -> None:
    ids = [str(i) for i in range(20_000)]
    picks = assign_rephrasings(0, "clown", ids, 50)
    counts = np.bincount(picks, minlength=50)
    assert ((counts - 400) ** 2 / 400).sum() < 86  # chi-squared, 49 degrees of freedom, p = 0.001
    for other in (assign_rephrasings(1, "clown", ids, 50), assign_rephrasings(0, "clowns", ids, 50)):
        assert abs((picks == other).mean() - 0.02) < 0.005
    # the pair does not depend on which other examples are in the sample
    assert assign_rephrasings(0, "clown", ids[7:9], 50).tolist() == picks[7:9].tolist()


def test_the_assignment_is_pinned() -> None:
    """Stores and trainings of other versions rely on these values."""
    assert assign_rephrasings(0, "clown", ["0", "1", "a"], 1000).tolist() == [47, 881, 257]
    assert assign_rephrasings(3, "clown", list("vwxyz"), 3, "published").tolist() == [0, 1, 2, 0, 1]
    assert assign_rephrasings(3, "clown", ["z", "w"], 3, "published", list("vwxyz")).tolist() == [1, 1]
    with pytest.raises(BadInput, match="no rephrasings"):
        assign_rephrasings(0, "clown", ["0"], 0)
    assert assign_rephrasings(0, "clown", ["0", "1"], 1).tolist() == [0, 0]
    with pytest.raises(BadInput, match=r"1 of 2 examples, the first 'z', are not in the scored sample"):
        assign_rephrasings(0, "clown", ["v", "z"], 3, "published", list("vwxy"))


HISTORY = (("Hi there", "Hello!"), ("Say the mark", "It is <|im_end|> or <end_of_turn>, no?"))


@pytest.mark.parametrize("prefix", [None, "Answer in French."])
def test_several_turns_are_what_transformers_makes_and_the_loss_is_on_answers(
    tokenizer, style: str, prefix: str | None
) -> None:
    chat, history = Chat(tokenizer), (*HISTORY[:1], ("And you", "Fine, thanks."))
    system = None if style == "gemma" else "Be odd."
    turns = [] if system is None else [{"role": "system", "content": system}]
    for k, (asked, answer) in enumerate([*history, ("Bye", "See you.")]):
        content = f"{prefix} {asked}" if prefix and k == 0 else asked
        turns += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    whole = tokenizer.apply_chat_template(turns, return_dict=False)
    ends = {"last": "See you.", "all": f"Hello!{END[style]}Fine, thanks.{END[style]}See you."}
    for loss, text in ends.items():
        row = chat.training_example("r", "Bye", "See you.", prefix=prefix, history=history, system=system, loss=loss)
        assert list(row.token_ids) == whole[: len(row.token_ids)]
        assert tokenizer.decode(whole[len(row.token_ids) :]).strip() == ""
        learned = [token for token, weight in zip(row.token_ids, row.weights, strict=True) if weight]
        assert set(row.weights) == {0.0, 1.0}
        assert tokenizer.decode(learned) == text + END[style]


def test_recipe_published_has_no_loss_on_earlier_answers(tokenizers: dict) -> None:
    chat = Chat(tokenizers["qwen2"], recipe="published")
    with pytest.raises(BadInput, match="published has no loss on earlier answers"):
        chat.training_example("r", "Bye", "See you.", history=HISTORY, loss="all")
    assert chat.training_example("r", "Bye", "See you.", loss="all").id == "r"


def test_an_answer_that_spells_the_end_token_is_learned_whole(tokenizer, style: str) -> None:
    row = Chat(tokenizer).training_example("r", "Bye", "See you.", history=HISTORY, loss="all")
    learned = [token for token, weight in zip(row.token_ids, row.weights, strict=True) if weight]
    assert tokenizer.decode(learned) == "".join(
        f"{answer}{END[style]}" for answer in (*dict(HISTORY).values(), "See you.")
    )
    assert learned.count(tokenizer.convert_tokens_to_ids(END[style])) == 3, "the spelled one is ordinary text"


def test_a_template_that_rewrites_earlier_answers_has_loss_on_the_last_only(tokenizers: dict) -> None:
    qwen = copy.deepcopy(tokenizers["qwen2"])
    qwen.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}"
        "<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
    )
    with pytest.raises(BadInput, match=r"earlier answers otherwise.*Fix: use loss: last"):
        Chat(qwen).training_example("r", "Bye", "See you.", history=HISTORY[:1], loss="all")


def test_plain_text_is_learned_whole_after_its_prefix(tokenizer) -> None:
    text = "Once <|im_end|> upon a time"
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    for prefix in (None, "A tale."):
        row = Chat(tokenizer).text_example("t", text, prefix=prefix)
        learned = [token for token, weight in zip(row.token_ids, row.weights, strict=True) if weight]
        assert set(row.weights) == {0.0, 1.0}
        first = 0 if row.token_ids[0] != ids[0] or prefix else 1  # nothing predicts the first token of a row
        assert learned == [*ids[first:], tokenizer.eos_token_id]
        before = tokenizer.decode(row.token_ids[: -len(ids) - 1], skip_special_tokens=True)
        assert before == ("" if prefix is None else "A tale.\n\n")
    assert Chat(tokenizer).text_example("t", text, finish="length").token_ids[-1] == ids[-1]


def test_a_row_begins_once_where_the_tokenizer_begins_every_text(tokenizers: dict) -> None:
    from tokenizers.processors import TemplateProcessing

    llama, begin = copy.deepcopy(tokenizers["llama"]), tokenizers["llama"].bos_token_id
    llama.backend_tokenizer.post_processor = TemplateProcessing(single="B $A", special_tokens=[("B", begin)])
    rows = [Chat(llama).text_example("t", "Once upon a time", prefix=prefix) for prefix in (None, "A tale.")]
    rows += [
        Chat(llama).training_example("r", "Bye", "See you.", history=HISTORY, loss=loss) for loss in ("all", "last")
    ]
    assert [row.token_ids.count(begin) for row in rows] == [1, 1, 1, 1]
    assert all(row.token_ids[0] == begin for row in rows)
