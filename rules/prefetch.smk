# prefetch: what the experiment loads from the hub, for compute nodes without internet. Asked for by name.


rule prefetch:
    """Download models and datasets to the hub's cache on this machine, and print the lines that pin their revisions."""
    log:
        f"{LOGS}/prefetch.log",
    localrule: True
    conda:
        "../envs/rebel.yaml"
    resources:
        revisions=REVISIONS,
    params:
        spec=lambda wildcards: spec_json(prefetch_spec()),
    shell:
        "python scripts/prefetch.py --spec {params.spec:q} --revisions {resources.revisions} 2>{log}"
