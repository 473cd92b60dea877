"""Losses and gradients by TRL's `DPOTrainer`, in an environment of its own (`.venv-trl`): one pair after the other.

    .venv-trl/bin/python trl_losses.py WORK.pt FOUND.pt

WORK has a model's `config` and `weights`, `pairs` (prompt, chosen and rejected ids, reference log-probabilities) and
`cases` (name -> keys of `DPOConfig`). FOUND has for each case the mean loss over the pairs, and its gradient, flat.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import DPOConfig, DPOTrainer

from small_tokenizers import small_tokenizer


class TokenizedTrainer(DPOTrainer):
    """Takes pairs that are tokenized already, with the reference's log-probabilities."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def by_trl(work: dict[str, Any], settings: dict[str, Any], folder: str) -> tuple[float, torch.Tensor]:
    """The mean loss of the pairs, each in a batch of its own, and its gradient."""
    model = LlamaForCausalLM(LlamaConfig(**work["config"]))
    model.load_state_dict(work["weights"])
    trainer = TokenizedTrainer(
        model=model,
        args=DPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            precompute_ref_log_probs=True,
            per_device_train_batch_size=1,
            train_sampling_strategy="sequential",
            report_to="none",
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=Dataset.from_list(work["pairs"]),
        processing_class=small_tokenizer(),  # only used for its padding token
    )
    losses = []
    for batch in trainer.get_train_dataloader():
        loss = trainer.compute_loss(model, batch) / len(work["pairs"])
        loss.backward()
        losses.append(float(loss.detach()))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return sum(losses), torch.cat([gradient.flatten() for gradient in gradients])


def main() -> None:
    torch.set_num_threads(1)  # tests share the cores
    logging.disable(logging.WARNING)
    work = torch.load(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = {name: by_trl(work, settings, folder) for name, settings in work["cases"].items()}
    torch.save(found, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
