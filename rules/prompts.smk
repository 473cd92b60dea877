# prompts.parquet: every prompt of the dataset that fits, ordered by hash. Where there are benchmarks, those that are
# their questions are dropped, and listed in contamination.parquet.


rule collect_prompts:
    """Normalise, deduplicate, filter by length and order the prompts; train is their start, test their end."""
    input:
        dataset=PATHS.made_by_rule(EXPERIMENT.prompts.dataset),
        base_model=PATHS.made_by_rule(EXPERIMENT.base_model.name),
    output:
        prompts=f"{RESULTS}/prompts.parquet",
        contamination=PATHS.contamination,
    log:
        f"{LOGS}/collect_prompts.log",
    benchmark:
        f"{BENCHMARKS}/collect_prompts.tsv"
    conda:
        "../envs/data.yaml"
    threads: HARDWARE.collect_prompts.threads
    resources:
        **REQUESTS.cpu("collect_prompts"),
        # The sizes are no parameters: a larger split changes no prompt. The program only checks that they fit. The
        # selection prompts lie before the test prompts and are counted with them.
        train_prompts=EXPERIMENT.prompts.train,
        test_prompts=EXPERIMENT.prompts.selection + EXPERIMENT.prompts.test,
    params:
        spec=lambda wildcards: spec(SPECS.collect_prompts),
        code=code("collect_prompts", EXPERIMENT.prompts.modules),
    shell:
        """
        python {resources.scripts:q}/collect_prompts.py --spec {params.spec:q} --dataset {input.dataset} \
            --base-model {input.base_model} --revisions {resources.revisions} \
            --train {resources.train_prompts} --test {resources.test_prompts} \
            --contamination {output.contamination} --output {output.prompts} 2>{log}
        """
