# rewards: the training reward of every response. judgements: the evaluation's judge on the test responses.


rule score_responses:
    """Score the responses of a part with the reward model or function of the experiment."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
        reward_model=scorer_folder(EXPERIMENT.rewards),
    output:
        f"{RESULTS}/{{policy}}/rewards/{{part}}.parquet",
    log:
        f"{LOGS}/score_responses/{{policy}}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/score_responses/{{policy}}/{{part}}.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.score_responses.threads
    resources:
        gpu=HARDWARE.score_responses.gpu,
        gpu_request=HARDWARE.score_responses.gpu,
        compute_threads=HARDWARE.score_responses.threads,
        token_budget=HARDWARE.score_responses.token_budget,
        mem_mb=HARDWARE.score_responses.mem_mb,
        runtime=HARDWARE.score_responses.runtime,
    params:
        spec=lambda wildcards: score_spec(wildcards.part, EXPERIMENT.rewards),
        code=code("score_responses", scorer_modules(EXPERIMENT.rewards)),
    shell:
        """
        python scripts/score_responses.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --reward-model {input.reward_model} --gpus {resources.gpu_request} \
            --threads {resources.compute_threads} --token-budget {resources.token_budget} --output {output} 2>{log}
        """


if EXPERIMENT.evaluation.judge:

    rule judge_responses:
        """Score the test responses with the evaluation's own judge: same program, same schema as the rewards."""
        input:
            prompts=f"{RESULTS}/prompts.parquet",
            responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
            reward_model=scorer_folder(EXPERIMENT.evaluation.judge),
        output:
            f"{RESULTS}/{{policy}}/judgements/{{part}}.parquet",
        log:
            f"{LOGS}/judge_responses/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/judge_responses/{{policy}}/{{part}}.tsv"
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.judge_responses.threads
        resources:
            gpu=HARDWARE.judge_responses.gpu,
            gpu_request=HARDWARE.judge_responses.gpu,
            compute_threads=HARDWARE.judge_responses.threads,
            token_budget=HARDWARE.judge_responses.token_budget,
            mem_mb=HARDWARE.judge_responses.mem_mb,
            runtime=HARDWARE.judge_responses.runtime,
        params:
            spec=lambda wildcards: score_spec(wildcards.part, EXPERIMENT.evaluation.judge),
            code=code("score_responses", scorer_modules(EXPERIMENT.evaluation.judge)),
        shell:
            """
            python scripts/score_responses.py --spec {params.spec:q} --prompts {input.prompts} \
                --responses {input.responses} --reward-model {input.reward_model} --gpus {resources.gpu_request} \
                --threads {resources.compute_threads} --token-budget {resources.token_budget} --output {output} 2>{log}
            """
