# report: one page for the experiment.


rule report:
    """Summary table, curves, reward distributions, pair statistics and examples on one self-contained page."""
    input:
        evaluations=expand(f"{RESULTS}/{{policy}}/evaluation.parquet", policy=EXPERIMENT.policies()),
        length_control=f"{RESULTS}/length_control.parquet",
        drift=PATHS.all_drifts(),
        benchmarks=PATHS.benchmark_summary,
        training=expand(f"{RESULTS}/{{policy}}/training.parquet", policy=EXPERIMENT.trained_policies()),
        pairs=PATHS.all_training_pairs(),
        prompts=f"{RESULTS}/prompts.parquet",
        responses=PATHS.all_test_parts("responses"),
        rewards=PATHS.all_test_parts("rewards"),
        judgements=PATHS.all_judgements(),
        sweeps=expand(f"{RESULTS}/sweeps/{{sweep}}.parquet", sweep=EXPERIMENT.sweeps),
    output:
        report(
            directory(f"{RESULTS}/report"),
            # The page, the table and the figures, each by itself, on the page of `snakemake --report`.
            patterns=["{name}.html", "{name}.md", "{name}.svg"],
            category=EXPERIMENT.experiment,
            labels={"result": "{name}"},
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../envs/report.yaml"
    threads: HARDWARE.report.threads
    resources:
        **REQUESTS.cpu("report"),
    params:
        spec=lambda wildcards: spec(SPECS.report),
        code=code("report"),
    shell:
        """
        python {resources.scripts:q}/report.py --spec {params.spec:q} --evaluations {input.evaluations} \
            --length-control {input.length_control} --drift {input.drift} --benchmarks {input.benchmarks} \
            --training {input.training} --pairs {input.pairs} \
            --prompts {input.prompts} --responses {input.responses} --rewards {input.rewards} \
            --judgements {input.judgements} --sweeps {input.sweeps} --output {output} 2>{log}
        """
