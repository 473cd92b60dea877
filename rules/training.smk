# checkpoint: a new policy, trained on the pairs of its parent.


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


def train_spec(wildcards):
    variant = variant_and_iteration(wildcards.policy)[0]
    return spec_json(
        TrainSpec(
            seed=EXPERIMENT.seed,
            policy=wildcards.policy,
            model=policy_source(parent(wildcards.policy)),
            precision=EXPERIMENT.logprobs.precision,
            temperature=EXPERIMENT.responses.temperature,
            loss=loss_of(wildcards.policy),
            recipe=EXPERIMENT.recipe(variant),
        )
    )


rule train_policy:
    """Train a policy on its parent's pairs; the parent is the start and the reference."""
    input:
        policy=parent_folder,
        pairs=training_parts("pairs"),
        logprobs=if_reference(training_parts("logprobs")),
        validation_pairs=validation_part("pairs"),
        validation_logprobs=if_reference(validation_part("logprobs")),
    output:
        checkpoint=directory(f"{RESULTS}/{{policy}}/checkpoint"),
        metrics=f"{RESULTS}/{{policy}}/training.parquet",
    wildcard_constraints:
        policy="|".join(policy for policy in EXPERIMENT.policies() if policy != "base"),
    log:
        f"{LOGS}/train_policy/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/train_policy/{{policy}}.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.train_policy.threads
    resources:
        gpu=HARDWARE.train_policy.gpu,
        gpu_request=HARDWARE.train_policy.gpu,
        compute_threads=HARDWARE.train_policy.threads,
        token_budget=HARDWARE.train_policy.token_budget,
        mem_mb=HARDWARE.train_policy.mem_mb,
        runtime=HARDWARE.train_policy.runtime,
    params:
        spec=train_spec,
        code=code("train_policy"),
    shell:
        """
        python {SCRIPTS}/train_policy.py --spec {params.spec:q} --policy {input.policy} \
            --pairs {input.pairs} --logprobs {input.logprobs} \
            --validation-pairs {input.validation_pairs} --validation-logprobs {input.validation_logprobs} \
            --gpus {resources.gpu_request} --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} \
            --checkpoint {output.checkpoint} --metrics {output.metrics} 2> {log}
        """
