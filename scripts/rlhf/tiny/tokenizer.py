"""A small tokenizer with Llama 3's pre-tokenization, special tokens and chat template."""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from rlhf.tiny.corpus import Style, compose
from rlhf.tiny.language.phrases import CLOSE_THOUGHT, OPEN_THOUGHT
from rlhf.tiny.language.tasks import tasks

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
BEGIN, END_OF_TURN = "<|begin_of_text|>", "<|eot_id|>"
SPECIAL_TOKENS = (BEGIN, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", END_OF_TURN)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
HEADER_WORDS = ["system\n\n", "user\n\n", "assistant\n\n"]
HEADER_WEIGHT = 100_000
"""So often that the words of the header are the first merges, and one token each in the smallest vocabulary: the
reward model's gate counts on it."""
TEXT_STYLE = Style(correct=0.5, polite=0.33, rude=0.33, filler=0.3, refusal=0.1)
LONGEST = 2048


def train_tokenizer(vocabulary_size: int, seed: int, *, thoughts: bool = False) -> PreTrainedTokenizerFast:
    """A byte-pair encoding of the grammar's instructions and of responses to them.

    Args:
        thoughts: whether the marks around thoughts are tokens. They are not special, as in Qwen3's tokenizer.
    """
    rng = random.Random(f"tokenizer {seed}")
    marks = [AddedToken(mark, normalized=False) for mark in (OPEN_THOUGHT, CLOSE_THOUGHT) if thoughts]
    texts = [text for task in tasks().values() for text in (task.prompt, compose(task, TEXT_STYLE, rng))]
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(SPECIAL_TOKENS) - len(marks),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    headers = (word for _ in range(HEADER_WEIGHT // 20) for word in ["".join(HEADER_WORDS) * 20])
    tokenizer.train_from_iterator((text for source in (headers, texts) for text in source), trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_tokens(marks)
    begin_id = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN}:1 $B:1", special_tokens=[(BEGIN, begin_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END_OF_TURN,
        chat_template=CHAT_TEMPLATE,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
    )
