"""Train the tiny reward model, of ArmoRM's form: objectives by regression, the gate by preferences."""

import random
from pathlib import Path

from command_line import add_hardware_flags, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.device import granted_device
from rlhf.models.tokenizers import load_tokenizer
from rlhf.tiny.conversations import Encoder
from rlhf.tiny.folders import save_model
from rlhf.tiny.language.tasks import sample_tasks
from rlhf.tiny.language_model import load_pretrained_policy
from rlhf.tiny.reward_model import learn_gate, learn_objectives, new_reward_model
from rlhf.tiny.settings import RewardModelSpec


def main() -> None:
    parser = program_parser(__doc__, RewardModelSpec)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the folder of the tokenizer")
    parser.add_argument("--pretrained", type=Path, required=True, help="the folder of the pretrained model")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the reward model")
    add_hardware_flags(parser)
    arguments, spec = parse_arguments(parser, RewardModelSpec)
    inputs = checked_inputs(tokenizer=arguments.tokenizer, pretrained=arguments.pretrained)
    granted_device(arguments.gpus, arguments.threads)
    tokenizer = load_tokenizer(str(arguments.tokenizer))
    rng = random.Random(f"reward model {spec.seed}")
    _, tasks = sample_tasks(spec.seed, spec.prompts)
    policy = load_pretrained_policy(arguments.pretrained)
    model = new_reward_model(policy, spec.seed)
    encoder = Encoder(tokenizer)
    learn_objectives(model, encoder, tasks, spec.learning, rng)
    learn_gate(model, encoder, tasks, spec.learning.gate_steps, rng)
    save_model(arguments.output, model.save, tokenizer, provenance(__file__, spec, inputs))


if __name__ == "__main__":
    run(main)
