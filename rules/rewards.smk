# rewards: the training reward of every response. judgements: the evaluation's judge on the test responses.


# Where one scorer's scores go: they are the rewards, or one of several that are combined.
SCORES = "scores/{scorer}" if COMBINED else "rewards"


rule score_responses:
    """Score the responses of a part with a reward model or function of the experiment."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
        reward_model=lambda wildcards: scorer_folder(scorer_of(wildcards)),
    output:
        f"{RESULTS}/{{policy}}/{SCORES}/{{part}}.parquet",
    log:
        f"{LOGS}/score_responses/{{policy}}/{SCORES}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/score_responses/{{policy}}/{SCORES}/{{part}}.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.score_responses.threads
    resources:
        **slurm_request(nodes=1),
        revisions=REVISIONS,
        gpu=HARDWARE.score_responses.gpu,
        gpu_request=gpu_request("score_responses"),
        compute_threads=HARDWARE.score_responses.threads,
        token_budget=HARDWARE.score_responses.token_budget,
        mem_mb=growing(HARDWARE.score_responses.mem_mb),
        runtime=growing(HARDWARE.score_responses.runtime),
    params:
        spec=lambda wildcards: score_spec(wildcards.part, scorer_of(wildcards)),
        code=lambda wildcards: score_code(scorer_of(wildcards)),
    shell:
        """
        python scripts/score_responses.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --reward-model {input.reward_model} --revisions {resources.revisions} \
            --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} --token-budget {resources.token_budget} --output {output} 2>{log}
        """


if COMBINED:

    rule combine_rewards:
        """Combine the scores of a part: the weighted mean, standardized by the scores of `base` in `train-000`."""
        input:
            responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
            scores=lambda wildcards: scores_of(wildcards.policy, wildcards.part),
            reference_scores=scores_of("base", "train-000"),
        output:
            f"{RESULTS}/{{policy}}/rewards/{{part}}.parquet",
        log:
            f"{LOGS}/combine_rewards/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/combine_rewards/{{policy}}/{{part}}.tsv"
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.combine_rewards.threads
        resources:
            mem_mb=growing(job_mb(EXPERIMENT, "combine_rewards")),
            runtime=growing(HARDWARE.combine_rewards.runtime),
        params:
            spec=combine_spec,
            code=code("combine_rewards"),
        shell:
            """
            python scripts/combine_rewards.py --spec {params.spec:q} --responses {input.responses} \
                --scores {input.scores} --reference-scores {input.reference_scores} --output {output} 2>{log}
            """


if EXPERIMENT.responses.imported and EXPERIMENT.responses.imported.rewards:

    ruleorder: import_rewards > score_responses

    rule import_rewards:
        """Take the rewards of imported responses from their dataset."""
        input:
            prompts=f"{RESULTS}/prompts.parquet",
        output:
            f"{RESULTS}/{{policy}}/rewards/{{part}}.parquet",
        log:
            f"{LOGS}/import_rewards/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/import_rewards/{{policy}}/{{part}}.tsv"
        wildcard_constraints:
            policy="base",
            part=r"train-\d+",
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.import_rewards.threads
        resources:
            revisions=REVISIONS,
            mem_mb=growing(job_mb(EXPERIMENT, "import_rewards")),
            runtime=growing(HARDWARE.import_rewards.runtime),
        params:
            spec=import_rewards_spec,
            code=code("import_rewards"),
        shell:
            """
            python scripts/import_rewards.py --spec {params.spec:q} --prompts {input.prompts} \
                --revisions {resources.revisions} --output {output} 2>{log}
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
            **slurm_request(nodes=1),
            revisions=REVISIONS,
            gpu=HARDWARE.judge_responses.gpu,
            gpu_request=gpu_request("judge_responses"),
            compute_threads=HARDWARE.judge_responses.threads,
            token_budget=HARDWARE.judge_responses.token_budget,
            mem_mb=growing(HARDWARE.judge_responses.mem_mb),
            runtime=growing(HARDWARE.judge_responses.runtime),
        params:
            spec=lambda wildcards: score_spec(wildcards.part, EXPERIMENT.evaluation.judge),
            code=score_code(EXPERIMENT.evaluation.judge),
        shell:
            """
            python scripts/score_responses.py --spec {params.spec:q} --prompts {input.prompts} \
                --responses {input.responses} --reward-model {input.reward_model} --revisions {resources.revisions} \
                --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
                --threads {resources.compute_threads} --token-budget {resources.token_budget} --output {output} 2>{log}
            """
