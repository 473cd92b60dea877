# examples: single responses that are desirable or undesirable, for losses that learn from those instead of pairs.
from workflow.specs.examples import example_spec


rule build_examples:
    """Label responses as desirable or undesirable by their rewards; count what is dropped and why."""
    input:
        prompts=f"{RESULTS}/prompts.parquet",
        responses=f"{RESULTS}/{{policy}}/responses/{{part}}.parquet",
        rewards=f"{RESULTS}/{{policy}}/rewards/{{part}}.parquet",
    output:
        f"{RESULTS}/{{policy}}/examples/{{part}}.parquet",
    log:
        f"{LOGS}/build_examples/{{policy}}/{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/build_examples/{{policy}}/{{part}}.tsv"
    conda:
        "../envs/data.yaml"
    threads: HARDWARE.build_examples.threads
    resources:
        **REQUESTS.cpu("build_examples"),
    params:
        spec=lambda wildcards: spec(example_spec, EXPERIMENT, wildcards.part),
        code=code("build_examples"),
    shell:
        """
        python {resources.scripts:q}/build_examples.py --spec {params.spec:q} --prompts {input.prompts} \
            --responses {input.responses} --rewards {input.rewards} --output {output} 2>{log}
        """


use rule compute_logprobs as compute_example_logprobs with:
    # Of examples, by the same program.
    input:
        pairs=[],
        examples=f"{RESULTS}/{{policy}}/examples/{{part}}.parquet",
        policy=lambda wildcards: PATHS.policy_folder(reference_of(wildcards)),
    output:
        f"{RESULTS}/{{policy}}/example_logprobs/{{reference}}{{part}}.parquet",
    log:
        f"{LOGS}/compute_example_logprobs/{{policy}}/{{reference}}{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/compute_example_logprobs/{{policy}}/{{reference}}{{part}}.tsv"
