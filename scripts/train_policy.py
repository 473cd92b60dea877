"""Train a policy on the preference pairs of its parent."""

import hashlib
from pathlib import Path
from typing import get_args

from accelerate.utils import set_seed

from command_line import add_hardware_flags, check_granted_gpus, program_parser, read_spec, run
from rlhf.adapters import add_adapters
from rlhf.checkpoint import describe_policy, save_policy
from rlhf.device import granted_device
from rlhf.folders import whole_folder
from rlhf.hardware import Activations, Strategy, Tracker, check_strategy
from rlhf.models import check_vocabulary, load_policy, load_tokenizer, model_location, resolved_revision
from rlhf.preference_data import read_pairs
from rlhf.provenance import provenance
from rlhf.sequence_logprobs import ResponseLogprobs, checkpoint_activations
from rlhf.settings import canonical_json
from rlhf.strategies import launch, leave, make_accelerator, release
from rlhf.trackers import check_tracker, start_tracking
from rlhf.training import TRAINING, TrainSpec, check_optimizer
from rlhf.training_loop import train
from rlhf.training_state import TrainingStates
from rlhf.validation import log_kept, validate_saved


def main() -> None:
    parser = program_parser(__doc__, TrainSpec)
    parser.add_argument("--policy", type=Path, nargs="?", help="the parent's folder (default: the spec's model)")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="the parent's pairs, Parquet")
    parser.add_argument("--logprobs", type=Path, nargs="*", default=[], help="their log-probabilities, file by file")
    parser.add_argument("--validation-pairs", type=Path, nargs="+", required=True, help="pairs of test prompts")
    parser.add_argument("--validation-logprobs", type=Path, nargs="*", default=[], help="their log-probabilities")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the folder of the new policy")
    parser.add_argument("--metrics", type=Path, required=True, help="the training metrics, Parquet")
    parser.add_argument(
        "--save-seconds",
        type=int,
        default=1800,
        help="save the state this often, in `training_state` beside the checkpoint: a killed run goes on from there",
    )
    parser.add_argument("--token-budget", type=int, default=16384, help="tokens in one forward and backward pass")
    parser.add_argument("--activations", choices=get_args(Activations), default="keep", help="for the backward pass")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work (default 1)")
    parser.add_argument("--nodes", type=int, default=1, help="machines of the Slurm job that they run on (default 1)")
    parser.add_argument("--strategy", choices=get_args(Strategy), default="single", help="how they share it")
    parser.add_argument("--tracker", choices=get_args(Tracker), default="none", help="where metrics go too")
    add_hardware_flags(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, TrainSpec)
    check_granted_gpus(arguments)
    cpu = arguments.gpus == 0
    check_strategy(arguments.strategy, arguments.processes, cpu=cpu)
    check_optimizer(spec.recipe, arguments.strategy)
    check_tracker(arguments.tracker)
    if arguments.processes > 1:
        launch(arguments.processes, arguments.nodes, arguments.gpus, arguments.threads)
    name, revision = model_location(arguments.policy, spec.model)
    tokenizer = load_tokenizer(name, revision)
    check_vocabulary(tokenizer, name, revision)
    pairs = read_pairs(arguments.pairs, arguments.logprobs, spec)
    validation_pairs = read_pairs(arguments.validation_pairs, arguments.validation_logprobs, spec)

    granted_device(arguments.gpus // arguments.nodes, arguments.threads)
    accelerator = make_accelerator(
        arguments.strategy,
        arguments.processes,
        spec.precision,
        spec.recipe.max_grad_norm,
        cpu=cpu,
        log_with=None if arguments.tracker == "none" else arguments.tracker,
        project_dir=arguments.checkpoint.parent,
    )
    start_tracking(accelerator, arguments.tracker, arguments.checkpoint.absolute().parents[1].name, spec)
    set_seed(spec.seed % 2**32)
    policy = load_policy(name, revision, "float32", accelerator.device)
    if spec.recipe.lora:
        add_adapters(policy, spec.recipe.lora)
    if arguments.activations == "recompute":
        checkpoint_activations(policy)
    model = ResponseLogprobs(policy, spec.temperature)
    inputs = {
        "pairs": arguments.pairs,
        "logprobs": arguments.logprobs,
        "validation_pairs": arguments.validation_pairs,
        "validation_logprobs": arguments.validation_logprobs,
        **({"policy": arguments.policy} if arguments.policy else {}),
    }
    origin = provenance(__file__, spec, inputs, model_revision=resolved_revision(name, revision))
    identity = hashlib.sha256(canonical_json(origin).encode()).hexdigest()[:16]
    states = TrainingStates(arguments.checkpoint.with_name("training_state"), identity, arguments.save_seconds)
    metrics, weights, validation = train(
        model, pairs, validation_pairs, spec, accelerator, arguments.token_budget, states
    )
    release(accelerator)
    if accelerator.is_main_process:
        with whole_folder(arguments.checkpoint) as folder:
            save_policy(folder, policy, weights, tokenizer, spec)
            if spec.recipe.lora:  # what they are merged to is another policy than the one that was validated
                del policy, model, weights
                merged = validate_saved(folder, validation_pairs, spec, arguments.token_budget, accelerator.device)
                metrics[-1].update(merged.metrics())
                if validation:
                    log_kept(merged, validation)
            describe_policy(folder, spec, len(pairs), metrics, origin)
        TRAINING.write(arguments.metrics, metrics, origin)
        states.delete()
    if arguments.processes > 1:
        leave()


if __name__ == "__main__":
    run(main)
