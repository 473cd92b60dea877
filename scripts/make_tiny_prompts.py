"""Write the prompts of the tiny world: short English instructions from a grammar."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from command_line import program_parser, read_spec, run
from rlhf.tiny.settings import PromptsSpec
from rlhf.tiny.tasks import sample_tasks


def main() -> None:
    parser = program_parser(__doc__, PromptsSpec)
    parser.add_argument("--output", type=Path, required=True, help="the dataset: Parquet with the column `prompt`")
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, PromptsSpec)
    tasks, _ = sample_tasks(spec.seed, spec.prompts)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(pa.table({"prompt": [task.prompt for task in tasks]}), temporary)
        temporary.replace(arguments.output)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
