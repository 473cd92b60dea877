# prompts.parquet: every prompt of the dataset that fits, ordered by hash.


rule collect_prompts:
    """Normalise, deduplicate, filter by length and order the prompts; train is their start, test their end."""
    input:
        dataset=made_by_rule(EXPERIMENT.prompts.dataset),
        base_model=made_by_rule(EXPERIMENT.base_model.name),
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
        revisions=REVISIONS,
        mem_mb=growing(job_mb(EXPERIMENT, "collect_prompts")),
        runtime=growing(HARDWARE.collect_prompts.runtime),
        # The sizes are no parameters: a larger split changes no prompt. The program only checks that they fit.
        train_prompts=EXPERIMENT.prompts.train,
        test_prompts=EXPERIMENT.prompts.test,
    params:
        spec=lambda wildcards: spec_json(collect_spec()),
        code=code("collect_prompts"),
    shell:
        """
        python scripts/collect_prompts.py --spec {params.spec:q} --dataset {input.dataset} \
            --base-model {input.base_model} --revisions {resources.revisions} \
            --train {resources.train_prompts} --test {resources.test_prompts} --output {output} 2>{log}
        """
