# pairs: two responses of each prompt, the chosen and the rejected; of one policy, or of several (`pairs.pool`).
# Those of `base` can come ready-made from a dataset (`pairs.imported`).


rule build_pairs:
    """Choose a chosen and a rejected response per prompt; count what is dropped and why."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=lambda wildcards: PATHS.pooled_parts("responses", wildcards.policy, wildcards.part),
        rewards=lambda wildcards: PATHS.pooled_parts("rewards", wildcards.policy, wildcards.part),
    output:
        f"{RESULTS}/{{policy}}/pairs/{{part}}.parquet",
    log:
        f"{LOGS}/build_pairs/{{policy}}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/build_pairs/{{policy}}/{{part}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: HARDWARE.build_pairs.threads
    resources:
        **REQUESTS.cpu("build_pairs"),
    params:
        spec=lambda wildcards: spec(SPECS.build_pairs, wildcards.policy, wildcards.part),
        code=code("build_pairs"),
    shell:
        """
        python {resources.scripts:q}/build_pairs.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --rewards {input.rewards} --output {output} 2>{log}
        """


if EXPERIMENT.pairs.imported:

    ruleorder: import_pairs > build_pairs

    rule import_pairs:
        """Take the pairs of `base` from a dataset of the user, which holds them ready-made."""
        input:
            prompts=f"{RESULTS}/prompts.parquet",
            tokenizer=PATHS.made_by_rule(EXPERIMENT.base_model.name),
        output:
            f"{RESULTS}/{{policy}}/pairs/{{part}}.parquet",
        log:
            f"{LOGS}/import_pairs/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/import_pairs/{{policy}}/{{part}}.tsv"
        wildcard_constraints:
            policy="base",
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.import_pairs.threads
        resources:
            **REQUESTS.cpu("import_pairs"),
        params:
            spec=lambda wildcards: spec(SPECS.import_pairs, wildcards.part),
            code=code("import_pairs", EXPERIMENT.responses.thought_modules),
        shell:
            """
            python {resources.scripts:q}/import_pairs.py --spec {params.spec:q} --prompts {input.prompts} \
                --tokenizer {input.tokenizer} --revisions {resources.revisions} --output {output} 2>{log}
            """
