# rewards: the training reward of every response. judgements: the evaluation's judge on the test responses.


# Where one scorer's scores go: they are the rewards, or one of several that are combined.
SCORES = "scores/{scorer}" if COMBINED else "rewards"


rule score_responses:
    """Score the responses of a part with a reward model or function of the experiment."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
        reward_model=lambda wildcards: PATHS.reward_model_folder(EXPERIMENT.scorer(wildcards.get("scorer"))),
        reference_responses=lambda wildcards: PATHS.reference_responses(
            EXPERIMENT.scorer(wildcards.get("scorer")), wildcards.policy, wildcards.part
        ),
        scorer_files=lambda wildcards: EXPERIMENT.scorer(wildcards.get("scorer")).files,
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
        **REQUESTS.gpu("score_responses"),
    params:
        spec=lambda wildcards: spec(SPECS.score_responses, wildcards.part, EXPERIMENT.scorer(wildcards.get("scorer"))),
        code=lambda wildcards: code("score_responses", EXPERIMENT.scorer(wildcards.get("scorer")).modules),
    shell:
        """
        python {resources.scripts:q}/score_responses.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --reward-model {input.reward_model} \
            --reference-responses {input.reference_responses} --scorer-files {input.scorer_files} \
            --revisions {resources.revisions} --journal {resources.journal} \
            --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} --token-budget {resources.token_budget} --output {output} 2>{log}
        """


if COMBINED:

    rule combine_rewards:
        """Combine the scores of a part: the weighted mean, standardized by the scores of `base` in `train-000`."""
        input:
            responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
            scores=lambda wildcards: PATHS.scores(wildcards.policy, wildcards.part),
            reference_scores=PATHS.scores("base", "train-000"),
        output:
            f"{RESULTS}/{{policy}}/rewards/{{part}}.parquet",
        log:
            f"{LOGS}/combine_rewards/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/combine_rewards/{{policy}}/{{part}}.tsv"
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.combine_rewards.threads
        resources:
            **REQUESTS.cpu("combine_rewards"),
        params:
            spec=lambda wildcards: spec(SPECS.combine_rewards, EXPERIMENT.rewards),
            code=code("combine_rewards"),
        shell:
            """
            python {resources.scripts:q}/combine_rewards.py --spec {params.spec:q} --responses {input.responses} \
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
            "../envs/data.yaml"
        threads: HARDWARE.import_rewards.threads
        resources:
            **REQUESTS.cpu("import_rewards"),
        params:
            spec=lambda wildcards: spec(SPECS.import_rewards, wildcards.part),
            code=code("import_rewards"),
        shell:
            """
            python {resources.scripts:q}/import_rewards.py --spec {params.spec:q} --prompts {input.prompts} \
                --revisions {resources.revisions} --output {output} 2>{log}
            """


if EXPERIMENT.evaluation.judge:

    use rule score_responses as judge_responses with:
        # The test responses, by the evaluation's own judge: the same program, the same schema as the rewards.
        input:
            prompts=f"{RESULTS}/prompts.parquet",
            responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
            reward_model=PATHS.reward_model_folder(EXPERIMENT.evaluation.judge),
            reference_responses=lambda wildcards: PATHS.reference_responses(
                EXPERIMENT.evaluation.judge, wildcards.policy, wildcards.part
            ),
            scorer_files=EXPERIMENT.evaluation.judge.files,
        output:
            f"{RESULTS}/{{policy}}/judgements/{{part}}.parquet",
        log:
            f"{LOGS}/judge_responses/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/judge_responses/{{policy}}/{{part}}.tsv"
        threads: HARDWARE.judge_responses.threads
        resources:
            **REQUESTS.gpu("judge_responses"),
        params:
            spec=lambda wildcards: spec(SPECS.score_responses, wildcards.part, EXPERIMENT.evaluation.judge),
            code=code("score_responses", EXPERIMENT.evaluation.judge.modules),
