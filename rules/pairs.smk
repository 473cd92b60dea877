# pairs: two responses of each prompt, the chosen and the rejected; of one policy, or of several (`pairs.pool`).


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
