# Offline and iterative RLHF: prompts -> responses -> rewards -> pairs -> log-probabilities -> policy -> evaluation.
# The rules are included in the order the data flows; what they share is in rules/common.smk.
import os

# An experiment file stands on its own: the default is not merged under a --configfile. It is the working directory's
# config/config.yaml, or the tiny experiment.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml" if os.path.exists("config/config.yaml") else workflow.source_path("config/config.yaml")


include: "rules/sources.smk"
include: "rules/common.smk"
include: "rules/tiny.smk"
include: "rules/prefetch.smk"
include: "rules/prompts.smk"
include: "rules/responses.smk"
include: "rules/rewards.smk"
include: "rules/pairs.smk"
include: "rules/logprobs.smk"
include: "rules/examples.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/sweeps.smk"
include: "rules/benchmarks.smk"
include: "rules/report.smk"
include: "rules/publish.smk"


rule all:
    """The trained policies, their evaluation, and the report."""
    default_target: True
    input:
        expand(f"{RESULTS}/{{policy}}/evaluation.parquet", policy=EXPERIMENT.policies()),
        f"{RESULTS}/report",
