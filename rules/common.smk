# Paths and input functions that the rules share; specs.smk has their settings. There is no rule in this file.
#
# A rule has two parameters. `spec` is canonical JSON of exactly the settings that its program reads; `code` is a digest
# of its program and the modules behind it. So an edit reruns what it concerns, and nothing else.
import functools
import gc
import os
import sys

from pydantic import ValidationError

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from rlhf.base.telemetry import switch_off_reports

switch_off_reports()  # in the jobs too, and before any import that reads it

from rlhf.base.errors import UserError
from rlhf.base.names import part_rows
from rlhf.base.settings import canonical_json
from rlhf.base.source_digest import source_digest
from rlhf.evaluation.settings import EvaluateSpec
from rlhf.logprobs.settings import LogprobSpec
from rlhf.machine.leases import GRANTED_BY
from rlhf.prefetch.lookup import resolve_revisions
from rlhf.report.settings import ReportSpec
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from workflow.duplicate_keys import refuse_duplicate_keys
from workflow.experiment import MADE_BY_RULES, load_experiment, parent, variant_and_iteration
from workflow.planning.cpu_memory import job_mb
from workflow.planning.input_checks import check_functions, check_sources
from workflow.planning.memory_check import check_memory, policy_shape
from workflow.planning.model_checks import check_models
from workflow.planning.own_records import use_own_records
from workflow.planning.saving_requests import disk_mb, with_stop_seconds
from workflow.sources import model_source, refuse_conda_for_embedded, require_conda


def stop(error):
    """End the run with the sentence that helps, and no traceback."""
    sys.exit(f"error: {error}")


try:
    for configfile in workflow.configfiles:
        refuse_duplicate_keys(Path(configfile))
    EXPERIMENT = load_experiment(config, ", ".join(map(str, workflow.configfiles)) or "--config")
    refuse_conda_for_embedded(EXPERIMENT.environments, workflow.deployment_settings.deployment_method)
    if workflow.is_main_process:  # a job on a cluster was planned, and looks up nothing
        check_sources(EXPERIMENT)
        check_models(EXPERIMENT)
        check_functions(EXPERIMENT)
except UserError as error:
    stop(error)

RESULTS = f"results/{EXPERIMENT.experiment}"
# The commits of what the configuration leaves open. A resource of rules: Snakemake neither tracks nor wants the file.
REVISIONS = f"{RESULTS}/revisions.yaml"
# Changes of code that `make accept` has let pass.
ACCEPTED = f"{RESULTS}/accepted.json"
use_own_records(Path(ACCEPTED))
LOGS = f"logs/{EXPERIMENT.experiment}"
BENCHMARKS = f"benchmarks/{EXPERIMENT.experiment}"
HARDWARE = EXPERIMENT.hardware
TRAINED = [policy for policy in EXPERIMENT.policies() if policy != "base"]
COMBINED = isinstance(EXPERIMENT.rewards, CombinedSettings)

# The programs of an embedded run come from the environment that Snakemake runs in.
if EXPERIMENT.environments == "embedded":
    os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), os.getenv("PATH", "")]))

# The GPUs of a job that Snakemake submitted are the scheduler's; other jobs lease theirs.
if workflow.remote_exec:
    os.environ[GRANTED_BY] = "scheduler"

# Snakemake keeps the jobs of a plan, thousands of them; to look for garbage among them is a sixth of a plan's time.
gc.set_threshold(100_000)

# Programs write to logs: bars of the libraries would fill them with control characters.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


wildcard_constraints:
    policy="|".join(EXPERIMENT.policies()),
    part=r"(train|test)-\d+",
    scorer="|".join(EXPERIMENT.rewards.scorers) if COMBINED else "none",


def spec_json(spec):
    return canonical_json(spec.model_dump(mode="json"))


@functools.cache
def code(program, modules=()):
    """The digest of a program and of the modules behind it; `modules` are those that the settings name."""
    try:
        return source_digest(SCRIPTS / f"{program}.py", modules)
    except FileNotFoundError as error:
        stop(error)


def made_by_rule(name):
    """The path of `{results}/...`, or nothing for what the workflow does not make."""
    return [name.replace(MADE_BY_RULES, f"{RESULTS}/")] if name.startswith(MADE_BY_RULES) else []


def source(name, revision=None):
    """A model as a setting: a hub name with its revision, or a folder with its fingerprint; null for a rule's model."""
    try:
        return None if made_by_rule(name) else model_source(name, revision)
    except UserError as error:
        stop(error)


def policy_source(policy):
    return source(EXPERIMENT.base_model.name, EXPERIMENT.base_model.revision) if policy == "base" else None


def policy_folder(wildcards):
    """The folder of a policy that a rule makes; nothing for a base model from elsewhere."""
    if wildcards.policy == "base":
        return made_by_rule(EXPERIMENT.base_model.name)
    return f"{RESULTS}/{wildcards.policy}/checkpoint"


def rows(part):
    split = part.rsplit("-", 1)[0]
    return part_rows(part, getattr(EXPERIMENT.prompts, split), EXPERIMENT.prompts.part_size)


def scorer_folder(scorer):
    return made_by_rule(scorer.model) if isinstance(scorer, ModelScorer) else []


def score_code(scorer):
    return code("score_responses", scorer.modules)


def scorer_of(wildcards):
    """The scorer of the rewards; of several the one that the path names."""
    return EXPERIMENT.rewards.scorers[wildcards.scorer].scorer if COMBINED else EXPERIMENT.rewards


def scores_of(policy, part):
    """The scores of a part by each of several scorers, in the alphabetical order of their names."""
    return [f"{RESULTS}/{policy}/scores/{scorer}/{part}.parquet" for scorer in sorted(EXPERIMENT.rewards.scorers)]


def parts_of(artifact, policy, parts):
    return [f"{RESULTS}/{policy}/{artifact}/{part}.parquet" for part in parts]


def test_parts_of(artifact):
    """Input function: an artifact of the policy's test parts."""
    return lambda wildcards: parts_of(artifact, wildcards.policy, EXPERIMENT.test_parts())


def judgements(policy):
    """The judgements of the policy's test parts; nothing where the evaluation has no judge."""
    return parts_of("judgements", policy, EXPERIMENT.test_parts()) if EXPERIMENT.evaluation.judge else []


def loss_of(policy):
    return EXPERIMENT.variants[variant_and_iteration(policy)[0]].loss


def training_parts(artifact):
    """Input function: an artifact of the parent's train parts of this iteration."""

    def inputs(wildcards):
        iteration = variant_and_iteration(wildcards.policy)[1]
        return parts_of(artifact, parent(wildcards.policy), EXPERIMENT.train_parts(iteration))

    return inputs


def validation_part(artifact):
    """Input function: an artifact of the parent's first test part."""
    return lambda wildcards: parts_of(artifact, parent(wildcards.policy), ["test-000"])


def if_reference(inputs):
    """Input function: log-probabilities, which a loss without a reference does not pull in."""
    return lambda wildcards: inputs(wildcards) if loss_of(wildcards.policy).needs_reference else []


def parent_folder(wildcards):
    name = parent(wildcards.policy)
    return made_by_rule(EXPERIMENT.base_model.name) if name == "base" else f"{RESULTS}/{name}/checkpoint"


def gpu_request(rule):
    """The GPUs that the rule, or a profile in its place, asks for. Snakemake may shrink `gpu`."""
    profile = workflow.resource_settings.overwrite_resources.get(rule, {})
    return profile["gpu"].value if "gpu" in profile else getattr(HARDWARE, rule).gpu


def growing(amount):
    """Resource function: twice the amount at the first retry, three times at the second."""
    return lambda wildcards, attempt: amount * attempt


def training_hardware():
    """What a training may use, with a profile's GPUs instead of the experiment's."""
    section = HARDWARE.train_policy
    try:
        return type(section).model_validate({**section.model_dump(), "gpu": gpu_request("train_policy")})
    except ValidationError as error:
        stop(f"train_policy:gpu={gpu_request('train_policy')} of the profile: {error.errors()[0]['msg']}")


TRAINING_HARDWARE = training_hardware()

try:
    TRAINING_HARDWARE = with_stop_seconds(EXPERIMENT, TRAINING_HARDWARE)
    check_memory(EXPERIMENT, TRAINING_HARDWARE)
except UserError as error:
    stop(error)


def slurm_request(nodes):
    """What GPU stages add to `threads`, `gpu` and `mem_mb` for Slurm: the number of nodes, and one task on each.

    Left to itself, the plugin asks for a task per GPU, each with all CPUs of the job, on any number of nodes. A job on
    several nodes is one of MPI to it: it leaves srun to the program.
    """
    several = {"tasks": nodes, "mpi": "srun"} if nodes > 1 else {}
    return {"nodes": nodes, "tasks_per_gpu": 0, **several}


def training_request(hardware):
    """What a training adds. Before the time limit Slurm asks its programs to end, in time for them to save its state.

    Of several nodes each gives as many GPUs; left to itself, Slurm takes 7 of one node and 1 of the next.
    """
    flags = [f"--signal=TERM@{hardware.stop_seconds}"]
    if hardware.nodes > 1 and hardware.gpu:
        flags += [f"--gpus-per-node={hardware.gpu // hardware.nodes}"]
    return {**slurm_request(hardware.nodes), "slurm_extra": " ".join(flags)}


def training_disk():
    """What a training asks for as its disk; what the profile asks for every job, where its model's size is not known.

    Its states lie beside the results, on the disk of the project.
    """
    if policy_shape(EXPERIMENT) is None:
        return {}
    return {"disk_mb": lambda wildcards: disk_mb(EXPERIMENT, TRAINING_HARDWARE, wildcards.policy)}


def all_test_parts(artifact):
    return [path for policy in EXPERIMENT.policies() for path in parts_of(artifact, policy, EXPERIMENT.test_parts())]


def all_training_pairs():
    """The pairs that any policy was trained on, each file once."""
    paths = [
        path
        for policy in TRAINED
        for path in parts_of("pairs", parent(policy), EXPERIMENT.train_parts(variant_and_iteration(policy)[1]))
    ]
    return list(dict.fromkeys(paths))


onstart:
    # A plan (-n) needs neither conda nor the hub, and does not come here. A cluster's jobs do, and look up nothing.
    try:
        require_conda(EXPERIMENT.environments, workflow.deployment_settings.deployment_method)
        if workflow.is_main_process and not workflow.touch:
            resolve_revisions(prefetch_spec(), Path(REVISIONS))
    except UserError as error:
        stop(error)
