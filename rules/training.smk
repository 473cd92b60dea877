# training: a policy, from its parent and the pairs or examples of its parent; or as `training.start`, `reference`, `pairs_of` say.


rule train_policy:
    """Train a policy on its parent's pairs or examples, and those of earlier iterations if they accumulate."""
    input:
        choice=lambda wildcards: wait_for_choice(wildcards.policy),
        policy=lambda wildcards: PATHS.policy_folder(start_policy(EXPERIMENT, wildcards.policy)),
        reference=lambda wildcards: PATHS.separate_reference(wildcards.policy),
        pairs=lambda wildcards: PATHS.training_pairs(wildcards.policy),
        examples=lambda wildcards: PATHS.training_examples(wildcards.policy),
        logprobs=lambda wildcards: PATHS.under_reference(
            PATHS.training_pairs(wildcards.policy) + PATHS.training_examples(wildcards.policy), wildcards.policy
        ),
        earlier_pairs=lambda wildcards: PATHS.earlier_pairs(wildcards.policy),
        earlier_examples=lambda wildcards: PATHS.earlier_examples(wildcards.policy),
        earlier_logprobs=lambda wildcards: PATHS.under_reference(
            PATHS.earlier_pairs(wildcards.policy) + PATHS.earlier_examples(wildcards.policy), wildcards.policy
        ),
        validation_pairs=lambda wildcards: PATHS.validation_pairs(wildcards.policy),
        validation_examples=lambda wildcards: PATHS.validation_examples(wildcards.policy),
        validation_logprobs=lambda wildcards: PATHS.under_reference(
            PATHS.validation_pairs(wildcards.policy) + PATHS.validation_examples(wildcards.policy), wildcards.policy
        ),
    output:
        checkpoint=directory(f"{RESULTS}/{{policy}}/checkpoint"),
        metrics=f"{RESULTS}/{{policy}}/training.parquet",
    log:
        f"{LOGS}/train_policy/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/train_policy/{{policy}}.tsv"
    wildcard_constraints:
        policy="|".join(map(re.escape, [*EXPERIMENT.trained_policies(), *EXPERIMENT.candidates()])),
    conda:
        "../envs/rebel.yaml"
    threads: REQUESTS.training.threads_per_node
    resources:
        **REQUESTS.train_policy(),
    params:
        spec=lambda wildcards: spec(SPECS.train_policy, wildcards.policy, promoted_point(wildcards.policy)),
        code=lambda wildcards: code("train_policy", (EXPERIMENT.loss(wildcards.policy).module,)),
    # exec: a shell in between would end at the signal that lets the training save its state, and its job with it.
    shell:
        """
        exec python {resources.scripts:q}/train_policy.py --spec {params.spec:q} --policy {input.policy} \
            --reference {input.reference} --revisions {resources.revisions} \
            --pairs {input.pairs} --examples {input.examples} --logprobs {input.logprobs} \
            --earlier-pairs {input.earlier_pairs} --earlier-examples {input.earlier_examples} \
            --earlier-logprobs {input.earlier_logprobs} --validation-pairs {input.validation_pairs} \
            --validation-examples {input.validation_examples} --validation-logprobs {input.validation_logprobs} \
            --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --save-seconds {resources.save_seconds} \
            --stop-seconds {resources.stop_seconds} \
            --processes {resources.processes} --nodes {resources.nodes} --strategy {resources.strategy} \
            --activations {resources.activations} --tracker {resources.tracker} \
            --checkpoint {output.checkpoint} --metrics {output.metrics} 2>{log}
        """
