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


rule measure_drift:
    """How far a policy has drifted from base: its test responses under both."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=lambda wildcards: PATHS.test_parts("responses", wildcards.policy),
        policy=lambda wildcards: PATHS.policy_folder(wildcards.policy),
        base=PATHS.policy_folder("base"),
    output:
        f"{RESULTS}/{{policy}}/drift.parquet",
    log:
        f"{LOGS}/measure_drift/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_drift/{{policy}}.tsv"
    wildcard_constraints:
        policy="|".join(map(re.escape, EXPERIMENT.trained_policies())),
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.measure_drift.threads
    resources:
        **REQUESTS.gpu("measure_drift"),
    params:
        spec=lambda wildcards: spec(SPECS.measure_drift),
        code=code("measure_drift"),
    shell:
        """
        python {resources.scripts:q}/measure_drift.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --policy {input.policy} --base {input.base} \
            --revisions {resources.revisions} --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --output {output} 2>{log}
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
