# responses: several draws per prompt, a part per job.


rule generate_responses:
    """Sample the responses of a policy to the prompts of a part, with a seed per prompt and draw."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        policy=lambda wildcards: PATHS.policy_folder(wildcards.policy),
    output:
        f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
    log:
        f"{LOGS}/generate_responses/{{policy}}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/generate_responses/{{policy}}/{{part}}.tsv"
    conda:
        "../envs/vllm.yaml"
    threads: HARDWARE.generate_responses.threads
    resources:
        **REQUESTS.gpu("generate_responses"),
    params:
        spec=lambda wildcards: spec(SPECS.generate_responses, wildcards.policy, wildcards.part),
        code=code("generate_responses", (EXPERIMENT.responses.engine_module, *EXPERIMENT.responses.thought_modules)),
    shell:
        """
        python {resources.scripts:q}/generate_responses.py --spec {params.spec:q} --prompts {input.prompts} \
            --policy {input.policy} --revisions {resources.revisions} \
            --gpus {resources.gpu_request} --granted-gpus {resources.gpu} --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --output {output} 2>{log}
        """


if EXPERIMENT.responses.imported:

    ruleorder: import_responses > generate_responses

    rule import_responses:
        """Take the responses of `base` to the train prompts from a dataset of the user."""
        input:
            prompts=f"{RESULTS}/prompts.parquet",
            policy=PATHS.made_by_rule(EXPERIMENT.base_model.name),
        output:
            f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
        log:
            f"{LOGS}/import_responses/{{policy}}/{{part}}.log",
        benchmark:
            f"{BENCHMARKS}/import_responses/{{policy}}/{{part}}.tsv"
        wildcard_constraints:
            policy="base",
            part=r"train-\d+",
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.import_responses.threads
        resources:
            **REQUESTS.cpu("import_responses"),
        params:
            spec=lambda wildcards: spec(SPECS.import_responses, wildcards.part),
            code=code("import_responses", EXPERIMENT.responses.thought_modules),
        shell:
            """
            python {resources.scripts:q}/import_responses.py --spec {params.spec:q} --prompts {input.prompts} \
                --policy {input.policy} --revisions {resources.revisions} --output {output} 2>{log}
            """
