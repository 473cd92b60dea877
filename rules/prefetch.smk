# prefetch: what the experiment loads from the hub, for compute nodes without internet. Asked for by name.


rule prefetch:
    """Download models and datasets to the hub's cache on this machine, and print the lines that pin their revisions."""
    log:
        f"{LOGS}/prefetch.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        **REQUESTS.program(),
    params:
        spec=lambda wildcards: spec(prefetch_spec, EXPERIMENT),
    shell:
        "python {resources.scripts:q}/prefetch.py --spec {params.spec:q} --revisions {resources.revisions} 2>{log}"
