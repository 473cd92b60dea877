# sweeps: many settings of a variant, trained on a part of the pairs and compared; the best are trained in full.
#
# `choose_variants` is a checkpoint in the sense of Snakemake: only after one does Snakemake look again at what must run.
# So a point that is added trains that point alone, and the promoted policies again only if the choice is another one.
# With a file of the choice as a plain input, every new choice would train them again, whatever it says.

if EXPERIMENT.sweeps:

    checkpoint choose_variants:
        """Choose the points of a sweep that are trained in full, by comparisons on the selection prompts."""
        input:
            comparisons=lambda wildcards: PATHS.sweep_comparisons(wildcards.sweep),
        output:
            f"{RESULTS}/sweeps/{{sweep}}.parquet",
        log:
            f"{LOGS}/choose_variants/{{sweep}}.log",
        benchmark:
            f"{BENCHMARKS}/choose_variants/{{sweep}}.tsv"
        wildcard_constraints:
            sweep="|".join(map(re.escape, EXPERIMENT.sweeps)),
        conda:
            "../envs/data.yaml"
        threads: HARDWARE.choose_variants.threads
        resources:
            **REQUESTS.cpu("choose_variants"),
        params:
            spec=lambda wildcards: spec(choose_spec, EXPERIMENT, wildcards.sweep),
            code=code("choose_variants"),
        shell:
            """
            python {resources.scripts:q}/choose_variants.py --spec {params.spec:q} --comparisons {input.comparisons} \
                --output {output} 2>{log}
            """
