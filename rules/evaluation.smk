# evaluation: each policy against base, on the test parts.


rule evaluate_policy:
    """Win rates against base by the training reward and by the judge, with intervals over prompts."""
    input:
        responses=test_parts_of("responses"),
        rewards=test_parts_of("rewards"),
        judgements=lambda wildcards: judgements(wildcards.policy),
        base_responses=parts_of("responses", "base", EXPERIMENT.test_parts()),
        base_rewards=parts_of("rewards", "base", EXPERIMENT.test_parts()),
        base_judgements=judgements("base"),
    output:
        f"{RESULTS}/{{policy}}/evaluation.parquet",
    log:
        f"{LOGS}/evaluate_policy/{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_policy/{{policy}}.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.evaluate_policy.threads
    resources:
        mem_mb=growing(job_mb(EXPERIMENT, "evaluate_policy")),
        runtime=growing(HARDWARE.evaluate_policy.runtime),
    params:
        spec=lambda wildcards: spec_json(
            EvaluateSpec(
                seed=EXPERIMENT.seed,
                policy=wildcards.policy,
                bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
                confidence=EXPERIMENT.evaluation.confidence,
            )
        ),
        code=code("evaluate_policy"),
    shell:
        """
        python scripts/evaluate_policy.py --spec {params.spec:q} --responses {input.responses} \
            --rewards {input.rewards} --judgements {input.judgements} --base-responses {input.base_responses} \
            --base-rewards {input.base_rewards} --base-judgements {input.base_judgements} --output {output} 2>{log}
        """
