"""Tokenizers that give texts back, with the changes that they may make, and such as lose something."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlhf.base.errors import UserError
from rlhf.models.round_trip import TEXTS, check_round_trip
from small_models import run_program
from small_tokenizers import FORMS, small_tokenizer

BYTES = [f"<0x{number:02X}>" for number in range(256)]


def byte_level(**parts: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with other parts in place of its own."""
    tokenizer = small_tokenizer()
    backend = tokenizer.backend_tokenizer
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|eot_id|>")


def sentencepiece(fallback: bool = True, normalizer: Any = None) -> PreTrainedTokenizerFast:
    """As Llama-2's: spaces are marks, and characters without a token are bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=fallback, fuse_unk=True))
    marks: list[Any] = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence([*([normalizer] if normalizer else []), *marks])
    specials = ["<unk>", *(BYTES if fallback else ["\n", "\t"])]
    ascii_alphabet = [chr(number) for number in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=specials, initial_alphabet=["▁", *ascii_alphabet], show_progress=False
    )
    tokenizer.train_from_iterator([text for text in TEXTS if text.isascii()], trainer)
    strip = decoders.Strip(content=" ", left=1, right=0)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:1]  # bytes are no special tokens
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), unk_token="<unk>")


GOOD = {
    "byte-level, NFC": lambda: byte_level(normalizer=normalizers.NFC()),
    "byte-level, NFKC": lambda: byte_level(normalizer=normalizers.NFKC()),
    "without capitals": lambda: byte_level(normalizer=normalizers.Lowercase()),
    "without accents": lambda: byte_level(
        normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    ),
    "a space before the text": lambda: byte_level(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "sentencepiece": sentencepiece,
    "sentencepiece without capitals": lambda: sentencepiece(normalizer=normalizers.Lowercase()),
    "sentencepiece without bytes": lambda: sentencepiece(fallback=False),
}
BAD = {
    "loaded as sentencepiece": lambda: byte_level(
        pre_tokenizer=pre_tokenizers.Metaspace(), decoder=decoders.Metaspace()
    ),
    "split at spaces": lambda: byte_level(
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    ),
    "a normaliser without spaces": lambda: byte_level(normalizer=normalizers.Replace(" ", "")),
    "a normaliser that joins lines": lambda: byte_level(normalizer=normalizers.Replace(Regex(r"\s+"), " ")),
    "no decoder": lambda: byte_level(decoder=decoders.Fuse()),
    "sentencepiece without a decoder": lambda: without_decoder(sentencepiece()),
}


def without_decoder(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    return tokenizer


@pytest.mark.parametrize("form", FORMS)
def test_the_test_tokenizers_round_trip(form: str) -> None:
    check_round_trip(small_tokenizer(form))


def test_the_real_tokenizer_round_trips(llama3_tokenizer: PreTrainedTokenizerBase) -> None:
    check_round_trip(llama3_tokenizer)


@pytest.mark.parametrize("name", GOOD)
def test_what_a_tokenizer_may_change(name: str) -> None:
    check_round_trip(GOOD[name]())


@pytest.mark.parametrize("name", BAD)
def test_what_a_tokenizer_may_not_lose(name: str) -> None:
    with pytest.raises(UserError, match=r"does not round-trip: '.*' is decoded as '"):
        check_round_trip(BAD[name]())


def test_a_special_token_is_none_of_the_texts() -> None:
    """A tokenizer whose added tokens take the spaces around them, as some special tokens do."""
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|start|>", lstrip=True, rstrip=True, special=True)])
    check_round_trip(tokenizer)


def test_collect_prompts_refuses_it(tmp_path: Path) -> None:
    tokenizer = BAD["loaded as sentencepiece"]()
    tokenizer.chat_template = small_tokenizer().chat_template
    tokenizer.save_pretrained(tmp_path / "policy")
    configuration = {"model_type": "llama", "vocab_size": len(tokenizer)}
    (tmp_path / "policy" / "config.json").write_text(json.dumps(configuration))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "what is 2 + 2?"}\n')
    spec = {
        "seed": 1, "dataset": None, "dataset_fingerprint": None, "revision": None, "split": "train",
        "column": "prompt", "system": None, "max_tokens": 100, "model": None,
    }  # fmt: skip
    flags = ("--dataset", tmp_path / "prompts.jsonl", "--base-model", tmp_path / "policy")
    done = run_program("collect_prompts", "--spec", json.dumps(spec), *flags, "--output", tmp_path / "out.parquet")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: the tokenizer of '{tmp_path}/policy' does not round-trip: 'The quick brown")
    assert "is decoded as 'Thequickbrownfoxjumps" in said
    assert not (tmp_path / "out.parquet").exists()
