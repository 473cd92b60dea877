# checkpoint: a new policy, trained on the pairs of its parent.


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
    log:
        f"{LOGS}/train_policy/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/train_policy/{{policy}}.tsv"
    wildcard_constraints:
        policy="|".join(policy for policy in EXPERIMENT.policies() if policy != "base"),
    conda:
        "../envs/rebel.yaml"
    threads: TRAINING_HARDWARE.threads_per_node
    resources:
        **training_request(TRAINING_HARDWARE),
        **training_disk(),
        revisions=REVISIONS,
        gpu=HARDWARE.train_policy.gpu,
        gpu_request=gpu_request("train_policy"),
        compute_threads=HARDWARE.train_policy.threads,
        token_budget=HARDWARE.train_policy.token_budget,
        save_seconds=HARDWARE.train_policy.save_seconds,
        stop_seconds=TRAINING_HARDWARE.stop_seconds,
        processes=TRAINING_HARDWARE.process_count,
        strategy=TRAINING_HARDWARE.sharing,
        activations=HARDWARE.train_policy.activations,
        tracker=HARDWARE.train_policy.tracker,
        # No more at a retry: it goes on from the saved state, and whole nodes have no more to give.
        mem_mb=HARDWARE.train_policy.mem_mb,
        runtime=growing(HARDWARE.train_policy.runtime),
    params:
        spec=train_spec,
        code=lambda wildcards: code("train_policy", (loss_of(wildcards.policy).module,)),
    # exec: a shell in between would end at the signal that lets the training save its state, and its job with it.
    shell:
        """
        exec python scripts/train_policy.py --spec {params.spec:q} --policy {input.policy} \
            --revisions {resources.revisions} --pairs {input.pairs} --logprobs {input.logprobs} \
            --validation-pairs {input.validation_pairs} --validation-logprobs {input.validation_logprobs} \
            --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --save-seconds {resources.save_seconds} \
            --stop-seconds {resources.stop_seconds} \
            --processes {resources.processes} --nodes {resources.nodes} --strategy {resources.strategy} \
            --activations {resources.activations} --tracker {resources.tracker} \
            --checkpoint {output.checkpoint} --metrics {output.metrics} 2>{log}
        """
