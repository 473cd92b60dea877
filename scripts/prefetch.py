"""Download what an experiment loads from the hub, and print the lines that pin it.

A token for gated models comes from the environment (HF_TOKEN) alone.
"""

import logging

from command_line import program_parser, read_spec, run
from rlhf.prefetching import PrefetchSpec, fetch_dataset, fetch_model

LOGGER = logging.getLogger("prefetch")


def main() -> None:
    arguments = program_parser(__doc__, PrefetchSpec).parse_args()
    spec = read_spec(arguments.spec, PrefetchSpec)
    pins = {}
    for key, model in spec.models.items():
        LOGGER.info("model %s", model.name)
        pins[key] = (fetch_model(model), model.name)
    for key, dataset in spec.datasets.items():
        LOGGER.info("dataset %s", dataset.name)
        pins[key] = (fetch_dataset(dataset), dataset.name)
    for key, (commit, name) in pins.items():
        print(f"{key}: {commit}  # {name}")


if __name__ == "__main__":
    run(main)
