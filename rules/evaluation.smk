# evaluation: each policy against base, on the test parts; the candidates of sweeps, on the selection parts.


rule evaluate_policy:
    """Win rates against base by the training reward and by the judge, with intervals over prompts."""
    input:
        responses=lambda wildcards: PATHS.compared("responses", wildcards.policy, wildcards.policy),
        rewards=lambda wildcards: PATHS.compared("rewards", wildcards.policy, wildcards.policy),
        judgements=lambda wildcards: PATHS.compared("judgements", wildcards.policy, wildcards.policy),
        base_responses=lambda wildcards: PATHS.compared("responses", "base", wildcards.policy),
        base_rewards=lambda wildcards: PATHS.compared("rewards", "base", wildcards.policy),
        base_judgements=lambda wildcards: PATHS.compared("judgements", "base", wildcards.policy),
    output:
        evaluation=f"{RESULTS}/{{policy}}/evaluation.parquet",
        comparisons=f"{RESULTS}/{{policy}}/comparisons.parquet",
    log:
        f"{LOGS}/evaluate_policy/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_policy/{{policy}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: HARDWARE.evaluate_policy.threads
    resources:
        **REQUESTS.cpu("evaluate_policy"),
    params:
        spec=lambda wildcards: spec(SPECS.evaluate_policy, wildcards.policy),
        code=code("evaluate_policy"),
    shell:
        """
        python {resources.scripts:q}/evaluate_policy.py --spec {params.spec:q} --responses {input.responses} \
            --rewards {input.rewards} --judgements {input.judgements} --base-responses {input.base_responses} \
            --base-rewards {input.base_rewards} --base-judgements {input.base_judgements} \
            --comparisons {output.comparisons} --output {output.evaluation} 2>{log}
        """


rule length_control:
    """Win rates at equal length, with the difficulty of each prompt estimated from the other policies."""
    input:
        comparisons=expand(f"{RESULTS}/{{policy}}/comparisons.parquet", policy=EXPERIMENT.trained_policies()),
        difficulty_comparisons=EXPERIMENT.evaluation.difficulty_comparisons,
    output:
        f"{RESULTS}/length_control.parquet",
    log:
        f"{LOGS}/length_control.log",
    benchmark:
        f"{BENCHMARKS}/length_control.tsv"
    conda:
        "../envs/data.yaml"
    threads: HARDWARE.length_control.threads
    resources:
        **REQUESTS.cpu("length_control"),
    params:
        spec=lambda wildcards: spec(SPECS.length_control),
        code=code("length_control"),
    shell:
        """
        python {resources.scripts:q}/length_control.py --spec {params.spec:q} --comparisons {input.comparisons} \
            --difficulty-comparisons {input.difficulty_comparisons} --output {output} 2>{log}
        """
