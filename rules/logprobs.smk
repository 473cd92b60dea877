# logprobs: the pairs under the policy that sampled them, which is the reference of the policy trained on them.


rule compute_logprobs:
    """Log-probabilities of the chosen and rejected responses of a part, at the sampling temperature."""
    input:
        pairs=f"{RESULTS}/{{policy}}/pairs/{{part}}.parquet",
        policy=lambda wildcards: PATHS.policy_folder(wildcards.policy),
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
        **REQUESTS.gpu("compute_logprobs"),
    params:
        spec=lambda wildcards: spec(SPECS.compute_logprobs, wildcards.policy),
        code=code("compute_logprobs"),
    shell:
        """
        python {resources.scripts:q}/compute_logprobs.py --spec {params.spec:q} --pairs {input.pairs} --policy {input.policy} \
            --revisions {resources.revisions} --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --output {output} 2>{log}
        """
