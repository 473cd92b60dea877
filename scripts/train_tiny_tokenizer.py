"""Train the tokenizer of the tiny world, with Llama 3's special tokens and chat template."""

from pathlib import Path

from command_line import parse_arguments, program_parser, run
from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.base.provenance import provenance
from rlhf.tiny.settings import TokenizerSpec
from rlhf.tiny.tokenizer import train_tokenizer


def main() -> None:
    parser = program_parser(__doc__, TokenizerSpec)
    parser.add_argument("--output", type=Path, required=True, help="the folder of the tokenizer")
    arguments, spec = parse_arguments(parser, TokenizerSpec)
    tokenizer = train_tokenizer(spec.vocabulary_size, spec.seed, thoughts=spec.thoughts)
    with whole_folder(arguments.output) as folder:
        tokenizer.save_pretrained(folder)
        write_folder_provenance(folder, provenance(__file__, spec, {}))


if __name__ == "__main__":
    run(main)
