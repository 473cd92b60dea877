"""Write the prompts of the tiny world: short English instructions from a grammar."""

from pathlib import Path

from command_line import parse_arguments, program_parser, run
from rlhf.base.provenance import provenance
from rlhf.tiny.language.tasks import TINY_PROMPTS, sample_tasks
from rlhf.tiny.settings import PromptsSpec


def main() -> None:
    parser = program_parser(__doc__, PromptsSpec)
    parser.add_argument("--output", type=Path, required=True, help="the dataset: Parquet with the column `prompt`")
    arguments, spec = parse_arguments(parser, PromptsSpec)
    tasks, _ = sample_tasks(spec.seed, spec.prompts)
    rows = [{"prompt": task.prompt} for task in tasks]
    TINY_PROMPTS.write(arguments.output, rows, provenance(__file__, spec, {}))


if __name__ == "__main__":
    run(main)
