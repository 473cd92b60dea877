"""Small tokenizers with the chat templates of several model families."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

LLAMA3 = (
    "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles!') }}{% endif %}"
    "{% endfor %}"
)
PHI = (  # the last turn of a conversation is closed twice
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
LLAMA31 = (  # a system turn with the dates comes first, whether or not there is a system message
    "{% if messages[0]['role'] == 'system' %}{% set system, turns = messages[0]['content'] | trim, messages[1:] %}"
    "{% else %}{% set system, turns = '', messages %}{% endif %}"
    "{% set today = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}"
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n' }}"
    "{{ 'Today Date: ' + today + '\n\n' + system + '<|eot_id|>' }}{% for turn in turns %}"
    "{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\n\n' + turn['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN = (  # its own system message where there is none
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are Qwen, a helpful assistant.<|im_end|>\n' }}{% endif %}" + CHATML
)
MISTRAL = (  # the system message stands before the first question, and a space before every answer
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '[INST] ' + message['content'] + '\n\n' }}{% elif message['role'] == 'user' %}"
    "{{ ('' if loop.index0 and loop.previtem['role'] == 'system' else '[INST] ') + message['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{{ message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA3_SPECIALS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
FORMS: dict[str, tuple[str, list[str], str | None, str]] = {
    "llama3": (LLAMA3, LLAMA3_SPECIALS, "<|begin_of_text|>", "<|eot_id|>"),
    "llama31": (LLAMA31, LLAMA3_SPECIALS, "<|begin_of_text|>", "<|eot_id|>"),
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
    "instruct": (INSTRUCT, ["<s>", "</s>"], "<s>", "</s>"),
    "phi": (
        PHI,
        ["<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        "<s>",
        "<|endoftext|>",
    ),
    "qwen": (QWEN, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
    "mistral": (MISTRAL, ["<s>", "</s>"], "<s>", "</s>"),
    "gemma": (GEMMA, ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>"),
}
"""Template, special tokens, beginning and end of a sequence."""
SPECIAL_TEXTS = sorted({text for _, specials, _, _ in FORMS.values() for text in specials})
TRIMMED_PROMPTS = ("llama3", "llama31", "gemma")
"""Forms whose template strips whitespace from prompts."""
CORPUS = ["the quick brown fox jumps over the lazy dog", "what is 2 + 2?", "Hello, world! [INST] [/INST]\n\n<|>_"] * 4


def small_tokenizer(form: str = "llama3", template: str | None = None) -> PreTrainedTokenizerBase:
    """A byte-level BPE of one of the `FORMS`; like real ones, it prepends its BOS token, if any, to plain text."""
    own_template, specials, bos, eos = FORMS[form]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, extra_special_tokens=specials
    )
    wrapped.chat_template = template or own_template
    return wrapped


def merging_tokenizer(words: list[str]) -> PreTrainedTokenizerBase:
    """One of Llama 3's form in which each of the words is one token, whatever characters it has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=LLAMA3_SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([word for word in words for _ in range(9)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=LLAMA3_SPECIALS[0],
        eos_token=LLAMA3_SPECIALS[-1],
        chat_template=LLAMA3,
    )


def save_policy_folder(folder: Path, form: str = "llama3") -> Path:
    """A policy folder with what stages without a GPU read: tokenizer and configuration."""
    small_tokenizer(form).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "transformers_version": "5.19.0"}))
    return folder
