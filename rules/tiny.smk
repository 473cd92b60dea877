# The embedded tiny world: prompts, tokenizer, policy and reward model of the experiments that have a `tiny` section.
# What it makes is used like any dataset and any folder with a model; no later rule knows that it is tiny.

if EXPERIMENT.tiny:
    from workflow.specs.tiny import TinySpecs

    TINY = TinySpecs(EXPERIMENT.seed, EXPERIMENT.tiny)
    WORLD = f"{RESULTS}/world"

    rule make_tiny_prompts:
        """Short English instructions from a grammar."""
        output:
            f"{WORLD}/prompts.parquet",
        log:
            f"{LOGS}/make_tiny_prompts.log",
        benchmark:
            f"{BENCHMARKS}/make_tiny_prompts.tsv"
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.tiny.threads
        resources:
            **REQUESTS.tiny(),
        params:
            spec=lambda wildcards: spec(TINY.make_tiny_prompts),
            code=code("make_tiny_prompts"),
        shell:
            "python {resources.scripts:q}/make_tiny_prompts.py --spec {params.spec:q} --output {output} 2> {log}"

    rule train_tiny_tokenizer:
        """A byte-pair tokenizer with Llama-3's special tokens and chat template."""
        output:
            directory(f"{WORLD}/tokenizer"),
        log:
            f"{LOGS}/train_tiny_tokenizer.log",
        benchmark:
            f"{BENCHMARKS}/train_tiny_tokenizer.tsv"
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.tiny.threads
        resources:
            **REQUESTS.tiny(),
        params:
            spec=lambda wildcards: spec(TINY.train_tiny_tokenizer),
            code=code("train_tiny_tokenizer"),
        shell:
            "python {resources.scripts:q}/train_tiny_tokenizer.py --spec {params.spec:q} --output {output} 2> {log}"

    rule pretrain_tiny_policy:
        """A small Llama that learns clean answers: the start of the policy and of the reward model."""
        input:
            tokenizer=f"{WORLD}/tokenizer",
        output:
            directory(f"{WORLD}/pretrained"),
        log:
            f"{LOGS}/pretrain_tiny_policy.log",
        benchmark:
            f"{BENCHMARKS}/pretrain_tiny_policy.tsv"
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.tiny.threads
        resources:
            **REQUESTS.tiny(),
        params:
            spec=lambda wildcards: spec(TINY.pretrain_tiny_policy),
            code=code("pretrain_tiny_policy"),
        shell:
            """
            python {resources.scripts:q}/pretrain_tiny_policy.py --spec {params.spec:q} --tokenizer {input.tokenizer} \
                --threads {resources.compute_threads} --output {output} 2>{log}
            """

    rule train_tiny_policy:
        """The base policy: it goes on with answers of mixed quality, so that something is left to learn."""
        input:
            tokenizer=f"{WORLD}/tokenizer",
            pretrained=f"{WORLD}/pretrained",
        output:
            directory(f"{WORLD}/policy"),
        log:
            f"{LOGS}/train_tiny_policy.log",
        benchmark:
            f"{BENCHMARKS}/train_tiny_policy.tsv"
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.tiny.threads
        resources:
            **REQUESTS.tiny(),
        params:
            spec=lambda wildcards: spec(TINY.train_tiny_policy),
            code=code("train_tiny_policy"),
        shell:
            """
            python {resources.scripts:q}/train_tiny_policy.py --spec {params.spec:q} --tokenizer {input.tokenizer} \
                --pretrained {input.pretrained} --threads {resources.compute_threads} --output {output} 2>{log}
            """

    rule train_tiny_reward_model:
        """A reward model of ArmoRM's form: regression heads per objective, mixed by a gate on the prompt."""
        input:
            tokenizer=f"{WORLD}/tokenizer",
            pretrained=f"{WORLD}/pretrained",
        output:
            directory(f"{WORLD}/reward_model"),
        log:
            f"{LOGS}/train_tiny_reward_model.log",
        benchmark:
            f"{BENCHMARKS}/train_tiny_reward_model.tsv"
        conda:
            "../envs/rebel.yaml"
        threads: HARDWARE.tiny.threads
        resources:
            **REQUESTS.tiny(),
        params:
            spec=lambda wildcards: spec(TINY.train_tiny_reward_model),
            code=code("train_tiny_reward_model"),
        shell:
            """
            python {resources.scripts:q}/train_tiny_reward_model.py --spec {params.spec:q} --tokenizer {input.tokenizer} \
                --pretrained {input.pretrained} --threads {resources.compute_threads} --output {output} 2>{log}
            """
