# report: one page for the experiment.

TRAINED = [policy for policy in EXPERIMENT.policies() if policy != "base"]


def all_test_parts(artifact):
    return [path for policy in EXPERIMENT.policies() for path in parts_of(artifact, policy, EXPERIMENT.test_parts())]


def all_training_pairs():
    """The pairs that any policy was trained on, each file once."""
    paths = [
        path
        for policy in TRAINED
        for path in parts_of("pairs", parent(policy), EXPERIMENT.train_parts(variant_and_iteration(policy)[1]))
    ]
    return list(dict.fromkeys(paths))


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
        mem_mb=HARDWARE.report.mem_mb,
        runtime=HARDWARE.report.runtime,
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
        python {SCRIPTS}/report.py --spec {params.spec:q} --evaluations {input.evaluations} \
            --training {input.training} --pairs {input.pairs} --prompts {input.prompts} \
            --responses {input.responses} --rewards {input.rewards} --judgements {input.judgements} \
            --output {output} 2> {log}
        """
