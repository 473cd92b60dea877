# evaluation: each policy against base, on the test parts.


rule evaluate_policy:
    """Win rates against base by the training reward and by the judge, with intervals over prompts."""
    input:
        responses=lambda wildcards: PATHS.test_parts("responses", wildcards.policy),
        rewards=lambda wildcards: PATHS.test_parts("rewards", wildcards.policy),
        judgements=lambda wildcards: PATHS.judgements(wildcards.policy),
        base_responses=PATHS.test_parts("responses", "base"),
        base_rewards=PATHS.test_parts("rewards", "base"),
        base_judgements=PATHS.judgements("base"),
    output:
        f"{RESULTS}/{{policy}}/evaluation.parquet",
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
            --base-rewards {input.base_rewards} --base-judgements {input.base_judgements} --output {output} 2>{log}
        """
