# What the rules share, and what needs Snakemake's own `workflow` object; all else is Python in scripts/workflow/.
#
# A rule has two parameters. `spec` is canonical JSON of exactly the settings that its program reads; `code` is a digest
# of its program and the modules behind it. So an edit reruns what it concerns, and nothing else.
import os
import re
import sys

from snakemake.utils import min_version

min_version("9.27.1")

sys.path.insert(0, os.path.join(SOURCES, "scripts"))

from rlhf.base.telemetry import switch_off_reports

switch_off_reports()  # in the jobs too, and before any import that reads it

from rlhf.base.errors import UserError
from rlhf.base.names import split_name
from rlhf.benchmarks.catalogue import suite
from rlhf.prefetch.lookup import resolve_revisions
from rlhf.rewards.kinds.combined import CombinedSettings
from workflow.iterations import start_policy
from workflow.paths import Paths
from workflow.planning.checks.scorers import require_keys
from workflow.requests import Requests
from workflow.sources import require_conda
from workflow.specs.hub import prefetch_spec
from workflow.specs.programs import Specs, as_json, program_digest
from workflow.specs.sweeps import choose_spec
from workflow.start import prepare_process, start
from workflow.variants.choices import chosen_point


def or_stop(make, *arguments, **named):
    """What a function returns; where it raises UserError, the run ends with that sentence and no traceback."""
    try:
        return make(*arguments, **named)
    except UserError as error:
        sys.exit(f"error: {error}")


def spec(make, *arguments):
    """The settings of a program, as JSON."""
    return as_json(or_stop(make, *arguments))


def code(program, modules=()):
    """The digest of a program; `modules` are those that its settings name."""
    return or_stop(program_digest, program, modules)


EXPERIMENT = or_stop(
    start,
    config,
    workflow.configfiles,
    workflow.deployment_settings.deployment_method,
    look_up=workflow.is_main_process,  # a job on a cluster was planned, and looks up nothing
)
HARDWARE = EXPERIMENT.hardware
COMBINED = isinstance(EXPERIMENT.rewards, CombinedSettings)
PATHS, SPECS = Paths(EXPERIMENT), Specs(EXPERIMENT)
RESULTS = PATHS.results
LOGS, BENCHMARKS = f"logs/{EXPERIMENT.experiment}", f"benchmarks/{EXPERIMENT.experiment}"


def gpus_of_profile():
    """GPUs that a profile's `set-resources` gives to rules, by their names here."""
    profile = workflow.resource_settings.overwrite_resources
    given = {rule: profile.get(workflow.modifier.modify_rulename(rule), {}) for rule in type(HARDWARE).model_fields}
    return {rule: resources["gpu"].value for rule, resources in given.items() if "gpu" in resources}


REQUESTS = or_stop(Requests.of, EXPERIMENT, gpus_of_profile())
prepare_process(EXPERIMENT.environments, submitted=workflow.remote_exec)


def reference_of(wildcards):
    """The policy that log-probabilities are under."""
    return wildcards.reference.rstrip("/") or wildcards.policy


def promoted_point(policy):
    """The point of its sweep that a promoted policy is trained with, once it is chosen; None for other policies."""
    variant = EXPERIMENT.trained[split_name(policy)[0]]
    if variant.rank is None:
        return None
    chosen = checkpoints.choose_variants.get(sweep=variant.sweep).output[0]
    return or_stop(chosen_point, Path(chosen), variant.rank)


def wait_for_choice(policy):
    """No file: a promoted policy waits for the choice of its sweep, but only the point that it names counts."""
    promoted_point(policy)
    return []


wildcard_constraints:
    policy="|".join(map(re.escape, [*EXPERIMENT.policies(), *EXPERIMENT.candidates()])),
    part=r"(train|selection|test)-\d+",
    scorer="|".join(EXPERIMENT.rewards.scorers) if COMBINED else "none",


def before_first_job():
    """A plan (-n) needs neither conda nor the hub, and does not come here. A cluster's jobs do, and look up nothing."""
    or_stop(require_conda, EXPERIMENT.environments, workflow.deployment_settings.deployment_method)
    if workflow.is_main_process and not workflow.touch:
        or_stop(require_keys, EXPERIMENT)
        or_stop(resolve_revisions, prefetch_spec(EXPERIMENT), Path(PATHS.revisions))


onstart:
    before_first_job()


# Snakemake does not run the `onstart` of a module: it is added to that of the workflow around it.
if not workflow.modifier.is_main_snakefile():
    workflow._onstart = lambda log, around=workflow._onstart: (around(log), before_first_job())
