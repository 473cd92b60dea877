"""Teach a small Llama clean answers: the start of the tiny policy and of the tiny reward model."""

import random
from dataclasses import replace
from pathlib import Path

from command_line import add_hardware_flags, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.device import granted_device
from rlhf.models.tokenizers import load_tokenizer
from rlhf.tiny.conversations import Encoder, converse, evenly
from rlhf.tiny.corpus import CLEAN
from rlhf.tiny.folders import save_model
from rlhf.tiny.language.tasks import sample_tasks
from rlhf.tiny.language_model import learn, new_policy
from rlhf.tiny.settings import PretrainSpec


def main() -> None:
    parser = program_parser(__doc__, PretrainSpec)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the folder of the tokenizer")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the model")
    add_hardware_flags(parser)
    arguments, spec = parse_arguments(parser, PretrainSpec)
    inputs = checked_inputs(tokenizer=arguments.tokenizer)
    granted_device(arguments.gpus, arguments.threads)
    tokenizer = load_tokenizer(str(arguments.tokenizer))
    rng = random.Random(f"pretraining {spec.seed}")
    _, tasks = sample_tasks(spec.seed, spec.prompts)
    model = new_policy(spec.network, tokenizer, spec.seed)
    chosen = evenly(tasks, spec.learning.steps * spec.learning.batch_size, rng)
    style = replace(CLEAN, thinking=float(spec.thoughts))
    learn(model, converse(Encoder(tokenizer), chosen, style, rng), spec.learning, rng, "pretraining")
    save_model(
        arguments.output,
        model.save_pretrained,
        tokenizer,
        provenance(__file__, spec, inputs),
    )


if __name__ == "__main__":
    run(main)
