# logprobs: the pairs of a policy under the reference of a policy that is trained on them. By default that is the policy
# of the pairs itself, and the path does not name it; another reference is a folder more.

UNDER = "|".join(f"{re.escape(policy)}/" for policy in EXPERIMENT.policies())


rule compute_logprobs:
    """Log-probabilities of the chosen and rejected responses of a part, at the sampling temperature."""
    input:
        pairs=f"{RESULTS}/{{policy}}/pairs/{{part}}.parquet",
        examples=[],
        policy=lambda wildcards: PATHS.policy_folder(reference_of(wildcards)),
    output:
        f"{RESULTS}/{{policy}}/logprobs/{{reference}}{{part}}.parquet",
    log:
        f"{LOGS}/compute_logprobs/{{policy}}/{{reference}}{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/compute_logprobs/{{policy}}/{{reference}}{{part}}.tsv"
    wildcard_constraints:
        reference=f"({UNDER})?",
    conda:
        "../envs/rebel.yaml"
    threads: HARDWARE.compute_logprobs.threads
    resources:
        **REQUESTS.gpu("compute_logprobs"),
    params:
        spec=lambda wildcards: spec(SPECS.compute_logprobs, reference_of(wildcards)),
        code=code("compute_logprobs"),
    shell:
        """
        python {resources.scripts:q}/compute_logprobs.py --spec {params.spec:q} --pairs {input.pairs} --examples {input.examples} \
            --policy {input.policy} \
            --revisions {resources.revisions} --gpus {resources.gpu_request} --granted-gpus {resources.gpu} \
            --threads {resources.compute_threads} \
            --token-budget {resources.token_budget} --output {output} 2>{log}
        """
