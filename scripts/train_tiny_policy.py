"""Make the tiny base policy: the pretrained model learns answers of mixed quality."""

import random
from pathlib import Path

from command_line import add_hardware_flags, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.device import granted_device
from rlhf.models.tokenizers import load_tokenizer
from rlhf.tiny.conversations import Encoder, converse, evenly
from rlhf.tiny.corpus import Style
from rlhf.tiny.folders import save_model
from rlhf.tiny.language.tasks import sample_tasks
from rlhf.tiny.language_model import learn, load_pretrained_policy
from rlhf.tiny.settings import PolicySpec


def main() -> None:
    parser = program_parser(__doc__, PolicySpec)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the folder of the tokenizer")
    parser.add_argument("--pretrained", type=Path, required=True, help="the folder of the pretrained model")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the policy")
    add_hardware_flags(parser)
    arguments, spec = parse_arguments(parser, PolicySpec)
    inputs = checked_inputs(tokenizer=arguments.tokenizer, pretrained=arguments.pretrained)
    granted_device(arguments.gpus, arguments.threads)
    tokenizer = load_tokenizer(str(arguments.tokenizer))
    rng = random.Random(f"policy {spec.seed}")
    _, tasks = sample_tasks(spec.seed, spec.prompts)
    model = load_pretrained_policy(arguments.pretrained)
    chosen = evenly(tasks, spec.learning.steps * spec.learning.batch_size, rng)
    mixed = {"polite": 0.3, "rude": 0.3, "filler": 0.45, "gushing": 0.1, "refusal": 0.08}
    style = Style(spec.learning.correct, **mixed, thinking=float(spec.thoughts))
    learn(model, converse(Encoder(tokenizer), chosen, style, rng), spec.learning, rng, "mixture")
    save_model(arguments.output, model.save_pretrained, tokenizer, provenance(__file__, spec, inputs))


if __name__ == "__main__":
    run(main)
