"""Real input: 805 prompts with five responses each, the real Llama-3 tokenizer, and a small random Llama."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from project import copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.training.schema import TRAINING

PARTS = [f"train-{index:03d}" for index in range(4)]
CONFIG = {
    "experiment": "real",
    "seed": 3,
    "environments": "embedded",
    "base_model": {"name": "policy"},
    "prompts": {
        "dataset": "responses.parquet",
        "train": 800,
        "test": 1,
        "part_size": 200,
        "max_tokens": 1024,
        "per_iteration": 1,
    },
    "responses": {
        "engine": "transformers",
        "max_tokens": 400,
        "precision": "float32",
        "imported": {"dataset": "responses.parquet"},
    },
    "rewards": {"kind": "function", "function": "my_rewards:checksum"},
    "logprobs": {"precision": "float32"},
    "pairs": {"min_margin": 0.9},  # leaves few pairs to train on: a vocabulary of 128,256 takes its time on a CPU
    "training": {"batch_size": 4, "learning_rate": 1.0e-4},
    "variants": {"dpo": {"loss": {"name": "dpo", "beta": 0.1}}},
    "hardware": {
        rule: {"gpu": 0, "threads": 1, "token_budget": 2048}
        for rule in ("generate_responses", "score_responses", "compute_logprobs", "train_policy")
    },
}


def save_random_policy(folder: Path, tokenizer_folder: Path) -> None:
    """A Llama with the real vocabulary that runs in seconds."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8192,
        bos_token_id=128000,
        eos_token_id=128009,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)


@pytest.mark.slow
def test_imported_responses_go_through_pairs_logprobs_and_training(
    llama3_tokenizer_folder: Path, real_responses: Path, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    save_random_policy(tmp_path / "policy", llama3_tokenizer_folder)
    shutil.copy(real_responses, tmp_path / "responses.parquet")
    (tmp_path / "my_rewards.py").write_text(
        "import zlib\n\ndef checksum(prompts, responses):\n"
        "    return [zlib.crc32(response.encode()) % 1000 / 1000 for response in responses]\n"
    )
    pairs = [f"results/real/base/pairs/{part}.parquet" for part in PARTS]
    project.run("results/real/dpo-1/checkpoint", *pairs, configfile=project.write_config(CONFIG, "real"))

    prompts = read_provenance(tmp_path / "results/real/prompts.parquet")["counts"]
    assert prompts["rows"] == 805 == prompts["prompts"] + sum(prompts["dropped"].values())
    source = {row["prompt"].strip(): row for row in pq.read_table(real_responses).to_pylist()}
    texts = {r["prompt_id"]: r["prompt"] for r in pq.read_table(tmp_path / "results/real/prompts.parquet").to_pylist()}
    for path in pairs:
        counts = read_provenance(tmp_path / path)["counts"]
        rows = PAIRS.read(tmp_path / path).to_pylist()
        assert counts["prompts"] == 200 == counts["pairs"] + sum(counts["dropped"].values())
        assert counts["pairs"] == len(rows) >= 4
        assert counts["dropped"]["below_margin"] > 20
        for row in rows:
            assert row["prompt_token_ids"].count(128000) == 1
            assert row["prompt_token_ids"][-1] == 271
            assert row["chosen_token_ids"][-1] == row["rejected_token_ids"][-1] == 128009
            assert row["chosen"] == source[texts[row["prompt_id"]]][f"response_{row['chosen_draw']}"]

    logprobs = LOGPROBS.read(tmp_path / "results/real/base/logprobs/train-000.parquet").to_pylist()
    assert all(row["chosen_logprob"] < -5 * row["chosen_tokens"] for row in logprobs)  # about -log 128256 per token
    metrics = TRAINING.read(tmp_path / "results/real/dpo-1/training.parquet").to_pylist()
    assert len(metrics) == 1 + len(logprobs) // 4
    assert metrics[1]["loss"] == pytest.approx(0.6931, abs=1e-3)
