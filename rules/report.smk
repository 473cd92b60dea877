# report: one page for the experiment.


rule report:
    """Summary table, curves, reward distributions, pair statistics and examples on one self-contained page."""
    input:
        evaluations=expand(f"{RESULTS}/{{policy}}/evaluation.parquet", policy=EXPERIMENT.policies()),
        training=expand(f"{RESULTS}/{{policy}}/training.parquet", policy=TRAINED),
        pairs=all_training_pairs(),
        prompts=f"{RESULTS}/prompts.parquet",
        responses=all_test_parts("responses"),
        rewards=all_test_parts("rewards"),
        judgements=[path for policy in EXPERIMENT.policies() for path in judgements(policy)],
    output:
        directory(f"{RESULTS}/report"),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.report.threads
    resources:
        mem_mb=growing(job_mb(EXPERIMENT, "report")),
        runtime=growing(HARDWARE.report.runtime),
    params:
        spec=lambda wildcards: spec_json(
            ReportSpec(
                experiment=EXPERIMENT.experiment,
                policies=EXPERIMENT.policies(),
                judge_label=EXPERIMENT.report.judge_label if EXPERIMENT.evaluation.judge else None,
                examples=EXPERIMENT.report.examples,
            )
        ),
        code=code("report"),
    shell:
        """
        python scripts/report.py --spec {params.spec:q} --evaluations {input.evaluations} \
            --training {input.training} --pairs {input.pairs} --prompts {input.prompts} \
            --responses {input.responses} --rewards {input.rewards} --judgements {input.judgements} \
            --output {output} 2>{log}
        """
