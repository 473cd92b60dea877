# responses: several draws per prompt, a part per job.


rule generate_responses:
    """Sample the responses of a policy to the prompts of a part, with a seed per prompt and draw."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        policy=policy_folder,
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
        **slurm_request(nodes=1),
        revisions=REVISIONS,
        gpu=HARDWARE.generate_responses.gpu,
        gpu_request=gpu_request("generate_responses"),
        compute_threads=HARDWARE.generate_responses.threads,
        token_budget=HARDWARE.generate_responses.token_budget,
        mem_mb=growing(HARDWARE.generate_responses.mem_mb),
        runtime=growing(HARDWARE.generate_responses.runtime),
    params:
        spec=generate_spec,
        code=code("generate_responses", (EXPERIMENT.responses.engine_module,)),
    shell:
        """
        python scripts/generate_responses.py --spec {params.spec:q} --prompts {input.prompts} \
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
            policy=made_by_rule(EXPERIMENT.base_model.name),
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
            "../envs/rebel.yaml"
        threads: HARDWARE.import_responses.threads
        resources:
            revisions=REVISIONS,
            mem_mb=growing(job_mb(EXPERIMENT, "import_responses")),
            runtime=growing(HARDWARE.import_responses.runtime),
        params:
            spec=import_responses_spec,
            code=code("import_responses"),
        shell:
            """
            python scripts/import_responses.py --spec {params.spec:q} --prompts {input.prompts} \
                --policy {input.policy} --revisions {resources.revisions} --output {output} 2>{log}
            """
