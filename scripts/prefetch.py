"""Download the models and datasets of an experiment from the hub, and print the lines that pin their revisions.

A token for gated models is read from the environment variable HF_TOKEN only.
"""

import logging

from command_line import add_revisions_flag, parse_arguments, program_parser, run
from rlhf.models.revisions import recorded_commit
from rlhf.prefetch.downloads import fetch_dataset, fetch_model
from rlhf.prefetch.lookup import resolve_revisions
from rlhf.prefetch.results import fetch_results
from rlhf.prefetch.settings import PrefetchSpec

LOGGER = logging.getLogger("prefetch")


def main() -> None:
    parser = program_parser(__doc__, PrefetchSpec)
    add_revisions_flag(parser)
    arguments, spec = parse_arguments(parser, PrefetchSpec)
    if arguments.revisions:
        resolve_revisions(spec, arguments.revisions)
    pins = {}
    for key, model in spec.models.items():
        LOGGER.info("model %s", model.name)
        revision = model.revision or recorded_commit(arguments.revisions, "model", model.name)
        pins[key] = (fetch_model(model.name, revision), model.name)
    for key, dataset in spec.datasets.items():
        LOGGER.info("dataset %s", dataset.name)
        revision = dataset.revision or recorded_commit(arguments.revisions, "dataset", dataset.name)
        pins[key] = (fetch_dataset(dataset, revision), dataset.name)
    for key, results in spec.results.items():
        if results.on_hub:
            LOGGER.info("results %s", results.name)
            pins[key] = (f"hub:{results.name}@{fetch_results(results)}", results.name)
    for key, (commit, name) in pins.items():
        print(f"{key}: {commit}  # {name}")


if __name__ == "__main__":
    run(main)
