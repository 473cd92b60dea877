# publish: the results as datasets and models for others. Asked for by name, and uploaded only if the experiment says so.
from workflow.specs.publishing import publish_spec, published_checkpoints, published_files, published_world


rule publish:
    """Link prompts, responses, rewards, pairs and policies into a folder, with cards; on request, upload it."""
    input:
        files=published_files(PATHS),
        folders=published_world(PATHS),
        checkpoints=published_checkpoints(PATHS),
    log:
        f"{LOGS}/publish.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        **REQUESTS.program(),
        results=RESULTS,
        published=PATHS.published,
    params:
        spec=lambda wildcards: spec(publish_spec, EXPERIMENT),
    shell:
        """
        python {resources.scripts:q}/publish.py --spec {params.spec:q} --results {resources.results} \
            --files {input.files} --folders {input.folders} --checkpoints {input.checkpoints} \
            --output {resources.published} 2>{log}
        """
