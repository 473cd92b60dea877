# benchmarks: what every policy scores on AlpacaEval 2, Arena-Hard, MT-Bench and tasks; none unless they are listed.


if EXPERIMENT.benchmarks.run:

    rule run_benchmark:
        """Serve a policy, ask it the questions of a benchmark, and have its answers judged."""
        input:
            policy=lambda wildcards: PATHS.policy_folder(wildcards.policy),
        output:
            results=f"{RESULTS}/{{policy}}/benchmarks/{{benchmark}}.parquet",
            exchanges=f"{RESULTS}/{{policy}}/benchmarks/{{benchmark}}_exchanges.parquet",
        log:
            f"{LOGS}/run_benchmark/{{policy}}/{{benchmark}}.log",
        benchmark:
            f"{BENCHMARKS}/run_benchmark/{{policy}}/{{benchmark}}.tsv"
        wildcard_constraints:
            benchmark="|".join(EXPERIMENT.benchmarks.run),
        conda:
            "../envs/evaluation.yaml"
        threads: HARDWARE.run_benchmark.threads
        resources:
            **REQUESTS.run_benchmark(),
        params:
            spec=lambda wildcards: spec(SPECS.run_benchmark, wildcards.policy, wildcards.benchmark),
            code=lambda wildcards: code(
                "run_benchmark", (suite(wildcards.benchmark), *EXPERIMENT.responses.thought_modules)
            ),
        shell:
            """
            python {resources.scripts:q}/run_benchmark.py --spec {params.spec:q} --policy {input.policy} \
                --revisions {resources.revisions} --journal {resources.journal} --in-flight {resources.in_flight} \
                --judge-key {resources.judge_key} --judge-prices {resources.judge_prices} \
                --judge-budget {resources.judge_budget} \
                --judge-tensor-parallel {resources.judge_tensor_parallel} --gpus {resources.gpu_request} \
                --granted-gpus {resources.gpu} --threads {resources.compute_threads} \
                --exchanges {output.exchanges} --output {output.results} 2>{log}
            """

    rule summarize_benchmarks:
        """Mean scores with intervals, win rates at equal length, and paired differences to base."""
        input:
            benchmarks=PATHS.all_benchmarks(),
        output:
            f"{RESULTS}/benchmarks.parquet",
        log:
            f"{LOGS}/summarize_benchmarks.log",
        benchmark:
            f"{BENCHMARKS}/summarize_benchmarks.tsv"
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.summarize_benchmarks.threads
        resources:
            **REQUESTS.cpu("summarize_benchmarks"),
        params:
            spec=lambda wildcards: spec(SPECS.summarize_benchmarks),
            code=code("summarize_benchmarks"),
        shell:
            """
            python {resources.scripts:q}/summarize_benchmarks.py --spec {params.spec:q} --benchmarks {input.benchmarks} \
                --output {output} 2>{log}
            """
