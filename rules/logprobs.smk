# logprobs: the pairs under the policy that sampled them, which is the reference of the policy trained on them.


rule compute_logprobs:
    """Log-probabilities of the chosen and rejected responses of a part, at the sampling temperature."""
    input:
        pairs=f"{RESULTS}/{{policy}}/pairs/{{part}}.parquet",
        policy=policy_folder,
    output:
        f"{RESULTS}/{{policy}}/logprobs/{{part}}.parquet",
    log:
        f"{LOGS}/compute_logprobs/{{policy}}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/compute_logprobs/{{policy}}/{{part}}.tsv"
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.compute_logprobs.threads
    resources:
        **slurm_request(nodes=1),
        revisions=REVISIONS,
        gpu=HARDWARE.compute_logprobs.gpu,
        gpu_request=gpu_request("compute_logprobs"),
        compute_threads=HARDWARE.compute_logprobs.threads,
        token_budget=HARDWARE.compute_logprobs.token_budget,
        mem_mb=growing(HARDWARE.compute_logprobs.mem_mb),
        runtime=growing(HARDWARE.compute_logprobs.runtime),
    params:
        spec=lambda wildcards: spec_json(
            LogprobSpec(
                model=policy_source(wildcards.policy),
                precision=EXPERIMENT.logprobs.precision,
                temperature=EXPERIMENT.responses.temperature,
            )
        ),
        code=code("compute_logprobs"),
    shell:
        """
        python scripts/compute_logprobs.py --spec {params.spec:q} --pairs {input.pairs} --policy {input.policy} \
            --revisions {resources.revisions} --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --output {output} 2>{log}
        """
