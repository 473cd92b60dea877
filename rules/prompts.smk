# prompts.parquet: every prompt of the dataset that fits, ordered by hash.


def collect_spec():
    prompts = EXPERIMENT.prompts
    made = bool(made_by_rule(prompts.dataset))
    try:
        fingerprint = None if made else local_fingerprint(prompts.dataset)
    except UserError as error:
        stop(error)
    return CollectSpec(
        seed=EXPERIMENT.seed,
        dataset=None if made else prompts.dataset,
        dataset_fingerprint=fingerprint,
        revision=prompts.revision,
        split=prompts.split,
        column=prompts.column,
        system=prompts.system,
        max_tokens=prompts.max_tokens,
        model=policy_source("base"),
    )


try:
    check_split_sizes(
        Path(RESULTS) / "prompts.parquet", EXPERIMENT.prompts.train, EXPERIMENT.prompts.test, collect_spec()
    )
except UserError as error:
    stop(error)


rule collect_prompts:
    """Normalise, deduplicate, filter by length and order the prompts; train is their start, test their end."""
    input:
        dataset=made_by_rule(EXPERIMENT.prompts.dataset),
        policy=made_by_rule(EXPERIMENT.base_model.name),
    output:
        f"{RESULTS}/prompts.parquet",
    log:
        f"{LOGS}/collect_prompts.log",
    benchmark:
        f"{BENCHMARKS}/collect_prompts.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.collect_prompts.threads
    resources:
        mem_mb=HARDWARE.collect_prompts.mem_mb,
        runtime=HARDWARE.collect_prompts.runtime,
        # The sizes are no parameters: a larger split changes no prompt. The program only checks that they fit.
        train_prompts=EXPERIMENT.prompts.train,
        test_prompts=EXPERIMENT.prompts.test,
    params:
        spec=lambda wildcards: spec_json(collect_spec()),
        code=code("collect_prompts"),
    shell:
        """
        python {SCRIPTS}/collect_prompts.py --spec {params.spec:q} --dataset {input.dataset} --policy {input.policy} \
            --train {resources.train_prompts} --test {resources.test_prompts} --output {output} 2> {log}
        """
