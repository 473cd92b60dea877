"""TRL's `KTOTrainer` on some batches, in the environment of envs/trl.txt: loss, reference point and gradient.

Arguments: a JSON file with `policy` (a folder), `batches` of examples in the columns of TRL's collator, and `options`
of `KTOConfig`; and the file to write.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import KTOConfig, KTOTrainer

from small_tokenizers import small_tokenizer


class OneBatch(KTOTrainer):  # type: ignore[misc]
    """Takes tokenized examples with log-probabilities under the reference."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    model = AutoModelForCausalLM.from_pretrained(given["policy"], dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = OneBatch(
            model=model,
            args=KTOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                max_length=None,
                precompute_ref_log_probs=True,
                per_device_train_batch_size=len(given["batches"][0]),
                report_to="none",
                **given["options"],
            ),
            train_dataset=Dataset.from_list(given["batches"][0]),
            processing_class=small_tokenizer(),  # only used for its padding token
        )
        found = [computed(trainer, batch) for batch in given["batches"]]
    Path(sys.argv[2]).write_text(json.dumps(found))


def computed(trainer: OneBatch, batch: list[dict[str, Any]]) -> dict[str, Any]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(batch))
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])
    return {"loss": loss.item(), "kl": trainer._metrics["train"]["kl"][-1], "gradient": gradient.tolist()}


if __name__ == "__main__":
    main()
