"""The suite of backends that look inside a model. Used as that of backends that score (`inoc.testing.scoring`)."""

from dataclasses import replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import pytest

from inoc.backends.probing import (
    Activations,
    FirstTokens,
    Gradient,
    Probed,
    ProbeGroup,
    Prober,
    ProbeSpec,
    answer_start,
    check_probes,
)
from inoc.backends.protocols import (
    AdapterSettings,
    ChatTokenizer,
    Checkpoint,
    Scorer,
    ScoreRequest,
    Trainer,
    TrainingExample,
)
from inoc.errors import BadInput
from inoc.testing.asking import encode, score_by_id
from inoc.testing.training import TEXTS, Trained, small_job


@runtime_checkable
class ProbingBackend(Prober, Protocol):
    """What `ProberConformance` needs of a backend."""

    @property
    def tokenizer(self) -> ChatTokenizer: ...


def probe(backend: Prober, spec: ProbeSpec, groups: list[ProbeGroup], references: list[ProbeGroup]) -> list[Probed]:
    """All results, checked; references first."""
    return list(check_probes(spec, groups, references, backend.probe(spec, groups, references)))


class ProberConformance:
    """Gradients, hidden states and first tokens belong to their examples and to nothing else."""

    tolerance: ClassVar[float] = 1e-4
    """Largest difference between two ways to ask for the same number, as a share of the largest one."""
    full: ClassVar[bool] = True
    """Gradients of all matrices can be asked for, too."""

    @pytest.fixture(scope="class")
    @classmethod
    def examples(cls, backend: ProbingBackend) -> list[TrainingExample]:
        """Examples of different lengths; their weights are 0 up to the answer and 1 on it."""
        found: list[TrainingExample] = []
        for i, (context, answer) in enumerate(zip(TEXTS[::2], TEXTS[1::2], strict=True)):
            before, after = encode(backend.tokenizer, context), encode(backend.tokenizer, answer)
            found.append(TrainingExample(f"e{i}", before + after, (0.0,) * len(before) + (1.0,) * len(after)))
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def groups(cls, examples: list[TrainingExample]) -> list[ProbeGroup]:
        """Three groups; the last subtracts the second from the first."""
        one, two = tuple(examples[:4]), tuple(examples[4:7])
        return [ProbeGroup("one", one), ProbeGroup("two", two), ProbeGroup("difference", one, two)]

    def same(self, found: np.ndarray, wanted: np.ndarray) -> None:
        """Equal up to the tolerance."""
        np.testing.assert_allclose(found, wanted, atol=self.tolerance * float(np.abs(wanted).max()), rtol=0)

    def gradients(self, backend: Prober, spec: ProbeSpec, groups: list[ProbeGroup]) -> list[Gradient]:
        """Of groups, with the groups themselves as references."""
        found = probe(backend, spec, groups, [replace(group, id=f"as {group.id}") for group in groups])
        return [result for result in found[len(groups) :] if isinstance(result, Gradient)]

    def specs(self) -> list[ProbeSpec]:
        """The gradients that can be asked for."""
        kinds = ("lora", "all") if self.full else ("lora",)
        return [ProbeSpec("gradient", weights=kind, rank=4, dimension=64, seed=3) for kind in kinds]

    def test_products_are_of_the_gradients(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        """g . g = norm^2, products are symmetric, a difference of groups is one of gradients; sign g . g is the sum of
        abs(g), at least the norm."""
        for spec in self.specs():
            found = self.gradients(backend, spec, groups)
            products = np.array([gradient.products for gradient in found])
            self.same(np.diag(products), np.array([gradient.norm**2 for gradient in found]))
            self.same(products, products.T)
            self.same(products[2], products[0] - products[1])
            self.same(found[2].sketch, found[0].sketch - found[1].sketch)
            assert float(np.abs(products[0]).min()) > 0
            for place, gradient in enumerate(found):
                assert gradient.sign_products[place] >= gradient.norm * (1 - self.tolerance)

    def test_a_mean_over_tokens(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        """Every example twice, or in another order, has the same gradient."""
        for spec in self.specs():
            first = groups[0].examples
            twice = ProbeGroup("twice", (*first, *(replace(e, id=f"{e.id} again") for e in reversed(first))))
            found = self.gradients(backend, spec, [groups[0], twice])
            self.same(found[1].sketch, found[0].sketch)

    def test_company_does_not_matter(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        kinds = [*self.specs(), ProbeSpec("activation"), ProbeSpec("activation", pooling="answer"), ProbeSpec("logits")]
        for spec in kinds:
            together = probe(backend, spec, groups[:2], [])
            alone = [probe(backend, spec, [group], [])[0] for group in groups[1::-1]][::-1]
            for one, two in zip(together, alone, strict=True):
                self.same(values(one), values(two))

    def test_the_seed_decides(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        (spec, *_) = self.specs()
        first, again = (self.gradients(backend, spec, groups[:1])[0] for _ in range(2))
        self.same(first.sketch, again.sketch)
        other = self.gradients(backend, replace(spec, seed=4), groups[:1])[0]
        assert float(np.abs(first.sketch - other.sketch).max()) > 0.01 * float(np.abs(first.sketch).max())

    def test_hidden_states_are_of_their_place(self, backend: ProbingBackend, examples: list[TrainingExample]) -> None:
        """Those of the prompt do not see the answer, those of the answer do; every token of a prompt counts."""
        plain = examples[0]
        other = replace(plain, token_ids=(*plain.token_ids[:-1], plain.token_ids[0]))
        moved = replace(plain, token_ids=(plain.token_ids[1], *plain.token_ids[1:]))
        group = ProbeGroup("group", (plain, other, moved))
        spec = ProbeSpec("activation")
        prompt, answer = (
            found.values
            for pooling in ("prompt", "answer")
            for found in probe(backend, replace(spec, pooling=pooling), [group], [])
            if isinstance(found, Activations)
        )
        self.same(prompt[1], prompt[0])
        for changed in (prompt[2] - prompt[0], answer[1] - answer[0]):
            assert float(np.abs(changed).max()) > 10 * self.tolerance * float(np.abs(prompt).max())

    def test_layers_are_those_asked_for(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        (found,) = probe(backend, ProbeSpec("activation", layers=(0, 1)), groups[:1], [])
        assert isinstance(found, Activations)
        assert found.layers == (0, 1)
        assert found.values.shape[:2] == (len(groups[0].examples), 2)
        (single,) = probe(backend, ProbeSpec("activation", layers=(1,)), groups[:1], [])
        self.same(values(single)[:, 0], found.values[:, 1])

    def test_first_tokens_are_the_scorers(self, backend: ProbingBackend, groups: list[ProbeGroup]) -> None:
        (found,) = probe(backend, ProbeSpec("logits"), groups[:1], [])
        assert isinstance(found, FirstTokens)
        np.testing.assert_allclose(np.exp(found.logprobs).sum(-1), 1, atol=1e-3)
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        for example, logprobs in zip(groups[0].examples, found.logprobs, strict=True):
            start = answer_start(example)
            context, token = example.token_ids[:start], example.token_ids[start]
            wanted = score_by_id(backend, [ScoreRequest("first", context, (token,))])["first"].logprobs
            self.same(logprobs[token : token + 1], wanted)

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoint(cls, backend: ProbingBackend, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
        """One that differs clearly from the base model; by default trained here."""
        if not isinstance(backend, Trainer):
            pytest.skip("the backend does not train: give the suite a checkpoint")
        job = small_job(backend.tokenizer, tmp_path_factory.mktemp("probed"), AdapterSettings(rank=4, alpha=8.0))
        return Trained(backend, replace(job, checkpoint_steps=(), learning_rate=0.05, warmup=0)).last

    def test_a_checkpoint_is_looked_at(
        self, backend: ProbingBackend, groups: list[ProbeGroup], checkpoint: Checkpoint
    ) -> None:
        """Gradients and first tokens of a checkpoint are not those of the base model, which stays as it was; first
        tokens are those that the scorer gives the checkpoint."""
        for spec in (*self.specs(), ProbeSpec("logits")):
            base, found, again = (
                probe(backend, replace(spec, checkpoint=point), groups[:1], [])[0] for point in (None, checkpoint, None)
            )
            self.same(values(again), values(base))
            change = np.abs(values(found) - values(base)).max()
            assert float(change) > 10 * self.tolerance * float(np.abs(values(base)).max())
            if isinstance(found, FirstTokens) and isinstance(backend, Scorer):
                start = answer_start(example := groups[0].examples[0])
                token = example.token_ids[start]
                asked = ScoreRequest("first", example.token_ids[:start], (token,), checkpoint)
                self.same(found.logprobs[0, token : token + 1], score_by_id(backend, [asked])["first"].logprobs)

    def test_impossible_probes_are_refused(self, backend: ProbingBackend, examples: list[TrainingExample]) -> None:
        bare = replace(examples[0], weights=(1.0,) * len(examples[0].weights))
        for group in (ProbeGroup("empty", ()), ProbeGroup("bare", (bare,))):
            with pytest.raises(BadInput):
                list(backend.probe(ProbeSpec("logits"), [group]))


def values(result: Probed) -> np.ndarray:
    """The numbers of a result that belong to one group alone."""
    if isinstance(result, Gradient):
        return np.append(result.sketch, result.norm)
    return result.values if isinstance(result, Activations) else result.logprobs
