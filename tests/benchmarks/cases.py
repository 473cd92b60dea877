"""What is measured: work, its size, and how much faster than its peer the pipeline must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
TRL_PYTHON = REPOSITORY / ".venv-trl/bin/python"
VLLM_PYTHON = REPOSITORY / ".venv-vllm/bin/python"
REAL_RESPONSES = REPOSITORY.parent / "shared/data/alpaca_eval_llama3_responses.parquet"
LLAMA3_TOKENIZER = REPOSITORY.parent / "shared/data/llama3-tokenizer"


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    module: str
    """Module of this folder, whose `prepare` makes the work of one side from the options."""
    at_least: float
    """The required ratio of the peer's time to the pipeline's."""
    options: dict[str, Any]
    quick: dict[str, Any] | None = None
    """Options that make it small for a test; None leaves it out of the test."""
    needs: tuple[Path, ...] = ()
    python: Path | None = None
    """Interpreter, if not the current one."""
    peer: str = "tutorial"
    """Name of what the pipeline is compared with."""
    peer_python: Path | None = None
    """Interpreter of the peer, if different."""
    long: bool = False
    """Only in `make bench-all`."""
    device: str = "cpu"
    parts: int = 0
    """Number of rounds that divide the work: all of them count, without a warm-up. 0: every round does all the work.

    The peer does all rounds, or every `peer_every`-th if the options say so: its time is then extrapolated.
    """
    memory_at_most: float | None = None
    """Required peak memory as a fraction of the peer's."""


CHAT = {"prompts": 8, "draws": 4, "prompt_tokens": [20, 60], "max_tokens": 100}
POLICY = {"vocabulary": 32_000, "hidden": 256, "layers": 6, "heads": 8, "spread": 5.0}
TINY_POLICY = {"vocabulary": 1536, "hidden": 128, "layers": 2, "heads": 4, "spread": 5.0}
SMALL_CHAT = {"prompts": 3, "draws": 2, "max_tokens": 6}
SMALL_POLICY = {"vocabulary": 500, "hidden": 32, "layers": 1, "heads": 2}
JUDGE = {"vocabulary": 32_000, "hidden": 256, "layers": 6, "heads": 8, "precision": "float32", "threads": 2}
SMALL_JUDGE = {"hidden": 32, "layers": 1, "heads": 2, "prompts": 3}
REAL = {"texts": str(REAL_RESPONSES), "tokenizer": str(LLAMA3_TOKENIZER), "vocabulary": 128_256, "prompts": 60}
LLAMA3_8B_8_LAYERS = {
    "hidden": 4096,
    "intermediate": 14_336,
    "layers": 8,
    "heads": 32,
    "key_heads": 8,
    "precision": "bfloat16",
    "prompts": 64,
}

PAIRS_64 = {"pairs": 64, "hidden": 256, "layers": 6, "heads": 8, "precision": "float32", "threads": 2}
SMALL_PAIRS = {"real_pairs": None, "pairs": 2, "vocabulary": 300, "hidden": 32, "layers": 1, "heads": 2, "longest": 12}
REAL_PAIRS = (
    {"real_pairs": {"texts": str(REAL_RESPONSES), "tokenizer": str(LLAMA3_TOKENIZER)}}
    if REAL_RESPONSES.exists() and LLAMA3_TOKENIZER.exists()
    else {}
)
"""Where their texts and tokenizer are; random lengths replace them if they are not available."""
ULTRAFEEDBACK = {"log_lengths": [4.9, 5.85]}
"""Logarithms of the median lengths, for prompts of 170 and responses of 410 tokens on average."""

CASES = [
    Case(
        "vLLM: all draws in one call, 20 prompts x 5 draws x 200 tokens",
        "sampling_vllm",
        1.2,
        {**TINY_POLICY, "prompts": 20, "draws": 5, "prompt_tokens": [20, 60], "max_tokens": 200, "threads": 2},
        needs=(VLLM_PYTHON.parents[1] / "installed",),
        python=VLLM_PYTHON,
    ),
    Case(
        "transformers: against generate, vocabulary 32,000",
        "sampling_transformers",
        1.0,
        {**POLICY, **CHAT, "stops": 0, "threads": 2},
    ),
    Case(
        "transformers: against generate, vocabulary 32,000, nearly uniform tokens",
        "sampling_transformers",
        1.0,
        {**POLICY, **CHAT, "spread": 0.3, "max_tokens": 30, "stops": 0, "threads": 2},
        long=True,
    ),
    Case(
        "transformers: against generate, tiny world, early stops",
        "sampling_transformers",
        1.0,
        {**TINY_POLICY, **CHAT, "prompts": 60, "max_tokens": 64, "stops": 70, "threads": 1},
        {**SMALL_POLICY, **SMALL_CHAT},
    ),
    Case(
        "rewards: prompts of 512 tokens, 5 draws of 100",
        "scoring",
        2.5,
        {**JUDGE, "prompts": 16, "draws": 5, "prompt_tokens": 512, "response_tokens": 100, "token_budget": 16_384},
        {**SMALL_JUDGE, "prompt_tokens": 60, "response_tokens": 12},
    ),
    *(
        Case(
            f"rewards: 60 real prompts, 5 responses, budget {budget:,} tokens",
            "scoring",
            1.0,
            {**JUDGE, **REAL, "layers": 2, "draws": 5, "token_budget": budget},
            needs=(REAL_RESPONSES, LLAMA3_TOKENIZER),
            long=True,
        )
        for budget in (16_384, 1024)
    ),
    Case(
        "rewards: 8 layers of Llama-3-8B, prompts of 512 tokens, 5 draws of 100",
        "scoring",
        4.0,
        {
            **JUDGE,
            **LLAMA3_8B_8_LAYERS,
            "draws": 5,
            "prompt_tokens": 512,
            "response_tokens": 100,
            "token_budget": 32_768,
        },
        device="cuda",
    ),
    Case(
        "rewards: 8 layers of Llama-3-8B, real prompts, 5 responses",
        "scoring",
        1.0,
        {**JUDGE, **REAL, **LLAMA3_8B_8_LAYERS, "draws": 5, "token_budget": 32_768},
        needs=(REAL_RESPONSES, LLAMA3_TOKENIZER),
        device="cuda",
    ),
    *(
        Case(
            f"{name}, vocabulary {vocabulary:,}: 64 pairs",
            "preference_pairs",
            ratio,
            {**PAIRS_64, **REAL_PAIRS, "work": work, "vocabulary": vocabulary, "token_budget": 16_384, "parts": 16}
            | {"peer_every": 8},
            {**SMALL_PAIRS, "pairs": 4, "parts": 4, "peer_every": 2} if vocabulary == 32_000 else None,
            parts=16,
            memory_at_most=memory,
            long=vocabulary > 32_000,
        )
        for vocabulary in (32_000, 128_256)
        for name, work, ratio, memory in (
            ("log-probabilities", "logprobs", 8.0, None),
            ("training", "gradient", 9.0, 0.4),
        )
    ),
    *(
        Case(
            f"{name} against TRL's DPOTrainer, vocabulary 32,000: 64 pairs",
            "dpo",
            3.0,
            {**PAIRS_64, **REAL_PAIRS, "work": work, "vocabulary": 32_000, "token_budget": 16_384, "parts": 8},
            {**SMALL_PAIRS, "pairs": 16, "parts": 2},
            needs=(TRL_PYTHON.parents[1] / "installed",),
            parts=8,
            memory_at_most=memory,
            peer="TRL",
            peer_python=TRL_PYTHON,
        )
        for name, work, memory in (("log-probabilities", "logprobs", None), ("training", "training", 0.33))
    ),
    Case(
        "training: prompts once for both responses, against twice; UltraFeedback's lengths",
        "preference_pairs",
        1.0,
        {**PAIRS_64, **ULTRAFEEDBACK, "work": "gradient", "against": "apart", "vocabulary": 32_000}
        | {"token_budget": 16_384, "parts": 4, "pairs": 32},
        parts=4,
        long=True,
    ),
    Case(
        "training: 2 processes (DDP) against 1, a thread each",
        "processes",
        1.5,
        {**PAIRS_64, **REAL_PAIRS, "vocabulary": 32_000, "pairs": 32, "batch_size": 16, "parts": 1},
        parts=1,
    ),
    *(
        Case(
            f"{name}: 16 layers of Llama-3-8B, UltraFeedback's lengths, {against}",
            "preference_pairs",
            ratio,
            {**PAIRS_64, **LLAMA3_8B_8_LAYERS, **ULTRAFEEDBACK, "layers": 16, "work": work, "against": against}
            | {"vocabulary": 128_256, "token_budget": 16_384, "parts": 4},
            device="cuda",
            parts=4,
        )
        for name, work, against, ratio in (
            ("log-probabilities", "logprobs", "padded", 4.0),
            ("training", "gradient", "padded", 4.0),
            ("training", "gradient", "apart", 1.0),
        )
    ),
]
