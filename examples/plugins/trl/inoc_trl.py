"""An inoc backend that trains with TRL: scores, samples and adapters are the local backend's.

`CallbackTrainer` does what TRL does not: it keeps checkpoints and states, resumes after a kill, and tells inoc of every
update. TRL's own trainer does the updates; the rows, their order, their weights and the schedule are inoc's.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from inoc.backends.callback import CallbackTrainer, Recorder
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import TrainingJob, TrainingStep
from inoc.backends.training import learning_rate
from inoc.errors import BackendRejected
from inoc.values import Scalar


class TrlBackend(CallbackTrainer, LocalBackend):
    """`backend: {name: trl}` in an experiment file; options as of `local`."""

    name: ClassVar[str] = "trl"
    libraries: ClassVar[tuple[str, ...]] = (*LocalBackend.libraries, "trl")
    extra: ClassVar[str] = "inoc-trl"

    def identity(self) -> Mapping[str, Scalar]:
        return {**LocalBackend.identity(self), "trainer": f"trl {version('trl')}"}

    def run(self, job: TrainingJob, recorder: Recorder) -> None:
        """TRL's loop from the newest state, the starting checkpoint or the base model on."""
        import torch
        from safetensors.torch import load_file, save_file
        from transformers import TrainerCallback
        from trl import SFTConfig, SFTTrainer

        sizes = {len(batch) for batch in job.batches}
        if job.adapter.kind != "lora" or len(sizes) > 1:
            raise BackendRejected(f"training '{job.id}': TRL trains adapters on batches of one size. Fix: use local.")
        (size,) = sizes
        pieces = max(n for n in range(1, min(job.accumulation, size) + 1) if size % n == 0)
        model = self.adapted(job)
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        optimizer = torch.optim.AdamW(weights.values(), lr=job.learning_rate, weight_decay=job.weight_decay)
        if recorder.state is not None:
            saved = load_file(recorder.state / "weights.safetensors")
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(saved[name])
            optimizer.load_state_dict(torch.load(recorder.state / "optimizer.pt", weights_only=True))
        done, rate = recorder.done, max(job.learning_rate, 1e-30)

        def schedule(step: int) -> float:
            return learning_rate(job, min(done + step, len(job.batches))) / rate

        def keep_state(folder: Path) -> None:
            save_file(
                {name: weight.detach().clone() for name, weight in weights.items()}, folder / "weights.safetensors"
            )
            torch.save(optimizer.state_dict(), folder / "optimizer.pt")

        class InOrder(SFTTrainer):
            """The rows in the order given; a loss with weights, of which each update's add up to 1."""

            seen = 0.0

            def _get_train_sampler(self, dataset=None):
                return torch.utils.data.SequentialSampler(self.train_dataset)

            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
                nll = torch.nn.functional.cross_entropy(
                    logits.float().flatten(0, 1), inputs["input_ids"][:, 1:].flatten(), reduction="none"
                )
                loss = (nll * inputs["shares"][:, 1:].flatten()).sum()
                self.seen += float(loss.detach())
                return loss

        class Tell(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                number, loss, trainer.seen = done + state.global_step, trainer.seen, 0.0
                step = TrainingStep(number, loss, learning_rate(job, number - 1), float("nan"))
                recorder.update(step, lambda folder: model.save_pretrained(str(folder)), keep_state)

        with TemporaryDirectory(prefix="inoc-trl-") as folder:
            config = SFTConfig(
                output_dir=folder, max_steps=len(job.batches) - done, per_device_train_batch_size=size // pieces,
                gradient_accumulation_steps=pieces, max_grad_norm=job.max_grad_norm, seed=job.seed, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", remove_unused_columns=False,
                dataset_kwargs={"skip_prepare_dataset": True}, use_cpu=self.options.device == "cpu", bf16=False,
                gradient_checkpointing=job.gradient_checkpointing, max_length=None,
            )  # fmt: skip
            trainer = InOrder(
                model, config, data_collator=padded, train_dataset=rows(job, done), processing_class=self.tokenizer,
                optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)), callbacks=[Tell()],
            )  # fmt: skip
            trainer.train()

    def adapted(self, job: TrainingJob):
        """A copy of the base model with the adapter at its start."""
        import peft
        import torch

        base = self.load(self.model.source.directory, self.spec.dtype)
        if job.start is not None and job.start.location is not None:
            self.model.check_checkpoint(job.start)
            return peft.PeftModel.from_pretrained(base, job.start.location, is_trainable=True)
        torch.manual_seed(job.seed)
        adapter = job.adapter
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", r=adapter.rank, lora_alpha=adapter.alpha, use_rslora=adapter.rslora,
            lora_dropout=adapter.dropout, target_modules=list(adapter.targets),
        )  # fmt: skip
        return peft.get_peft_model(base, config)


def rows(job: TrainingJob, done: int):
    """The examples of the updates that are left, one after the other; each token's share of its update's weight."""
    from datasets import Dataset

    found: dict[str, list[object]] = {"input_ids": [], "shares": []}
    for batch in job.batches[done:]:
        total = sum(sum(job.examples[i].weights) for i in batch)
        for i in batch:
            found["input_ids"].append(list(job.examples[i].token_ids))
            found["shares"].append([weight / total for weight in job.examples[i].weights])
    return Dataset.from_dict(found)


def padded(examples):
    """Right-padded ids and shares of some rows; `labels` is what the trainer counts tokens with."""
    import torch

    def pad(values):
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in values], batch_first=True)

    ids = pad([row["input_ids"] for row in examples])
    mask = pad([[1] * len(row["input_ids"]) for row in examples])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids, "shares": pad([row["shares"] for row in examples])}
