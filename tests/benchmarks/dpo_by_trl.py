"""TRL's `DPOTrainer` with its fastest settings for two CPU cores, in an environment of its own (envs/trl.txt)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from preference_pairs import random_policy
from rlhf.pairs.schema import Pair
from small_tokenizers import small_tokenizer
from turns import Pause

MICRO_BATCH = 1
"""Pairs of a forward and backward pass. Seconds of a processor for the first batch of 8 pairs, of 32,000 tokens'
vocabulary: 23 with 1, 27 with 2, 39 with 4, which pad more and leave the caches; 2.4, 4.0 and 5.9 GB."""
PRECOMPUTE_BATCH = 1
"""Of a forward pass: 10, 13 and 15 seconds with 1, 2 and 4."""


def by_trl(
    options: dict[str, Any], pairs: list[Pair], recipe: dict[str, Any], beta: float, folder: Path, pause: Pause
) -> None:
    """Pause before the first batch and after each: with its reference log-probabilities, or with loss and gradient."""
    trainer = PausingTrainer(
        recipe["batch_size"],
        pause,
        model=random_policy(options, torch.device("cpu")),
        args=configuration(recipe, beta, folder, precompute=options["work"] == "logprobs"),
        train_dataset=dataset(pairs, reference=options["work"] == "training"),
        processing_class=small_tokenizer(),  # asked for its padding alone
        callbacks=[PausingCallback(pause)],
    )
    if options["work"] == "training":
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def configuration(recipe: dict[str, Any], beta: float, folder: Path, precompute: bool) -> DPOConfig:
    """The recipe in TRL's words. Nothing is cut, rounded, recomputed, evaluated, saved or tracked."""
    return DPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=PRECOMPUTE_BATCH,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=recipe["batch_size"] // MICRO_BATCH,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        beta=beta,
        learning_rate=recipe["learning_rate"],
        adam_beta1=recipe["adam_beta1"],
        adam_beta2=recipe["adam_beta2"],
        adam_epsilon=recipe["adam_epsilon"],
        weight_decay=recipe["weight_decay"],
        max_grad_norm=recipe["max_grad_norm"],
        lr_scheduler_type="cosine",
        warmup_steps=0,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
    )


def dataset(pairs: list[Pair], reference: bool) -> Dataset:
    """Pairs as TRL's collator takes them."""
    columns = {"prompt_ids": "prompt_token_ids", "chosen_ids": "chosen_token_ids", "rejected_ids": "rejected_token_ids"}
    if reference:
        columns |= {"ref_chosen_logps": "chosen_logprob", "ref_rejected_logps": "rejected_logprob"}
    return Dataset.from_dict({name: [getattr(pair, column) for pair in pairs] for name, column in columns.items()})


class PausingTrainer(DPOTrainer):
    """Takes pairs that are tokenized, and pauses the precomputation after each `size` of them."""

    def __init__(self, size: int, pause: Pause, **more: Any) -> None:
        self.size, self.pause = size, pause
        super().__init__(**more)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        if "ref_chosen_logps" in dataset.column_names:
            return dataset
        self.sums: tuple[list[float], list[float]] = [], []
        self.pause(None)
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, torch.Tensor]) -> Any:
        found = super().compute_ref_log_probs(model, inputs)
        for kept, new in zip(self.sums, found, strict=True):
            kept += new.tolist()
        if len(self.sums[0]) == self.size:
            chosen, rejected = self.sums
            self.sums = [], []
            self.pause([*chosen, *rejected])
        return found


class PausingCallback(TrainerCallback):
    """Pauses before the first optimizer step, and after each."""

    def __init__(self, pause: Pause) -> None:
        self.pause = pause

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.pause(None)

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:  # else it is the summary at the end
            self.pause([logs["loss"], logs["grad_norm"]])
