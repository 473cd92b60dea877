"""Make a folder of the results for others, with a card for each dataset and model; on request, upload it to the hub.

Files are linked where the file system can, so that the folder takes no space. The token for an upload is read from the
environment variable HF_TOKEN only. An upload that was interrupted is resumed by the same command.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from command_line import parse_arguments, program_parser, run
from rlhf.base.artifacts import count_rows
from rlhf.base.files.checksums import SUMS, seal_folder, verify
from rlhf.base.files.folders import folder_provenance
from rlhf.publishing.cards.dataset import dataset_card, settings_text
from rlhf.publishing.cards.facts import Facts
from rlhf.publishing.cards.licences import CARD
from rlhf.publishing.cards.model import ADAPTER, adapter_configuration, model_card
from rlhf.publishing.folder import PublishedFolder, changed_sums
from rlhf.publishing.places import EXPERIMENT_FILE, datasets_of, preferences_place
from rlhf.publishing.preferences import write_preferences
from rlhf.publishing.repositories import DATASET, model_folder, repositories
from rlhf.publishing.settings import PublishSpec
from rlhf.publishing.upload import open_hub, upload

LOGGER = logging.getLogger("publish")
HERE = "path/to/this/folder"
"""In the card of a dataset that is on no hub."""
RECORDS = ("revisions.yaml", "accepted.json")
"""Files among the results that no rule makes, and that reuse reads."""


def main() -> None:
    arguments, spec = parse_arguments(make_parser(), PublishSpec)
    settings = spec.settings
    names = repositories(settings, spec.experiment, spec.policies) if settings.upload else {}
    hub = open_hub(names, private=settings.private) if names else None  # before anything is made
    for path in [*arguments.files, *arguments.folders, *arguments.checkpoints]:
        verify(path)
    places = tuple(path.relative_to(arguments.results).as_posix() for path in arguments.files)
    facts = Facts(arguments.results, places, spec)
    published = PublishedFolder(arguments.output)
    fill_dataset(published, facts, arguments.folders, names.get(DATASET, HERE))
    for checkpoint in arguments.checkpoints:
        fill_model(published, facts, checkpoint)
    published.remove_others()
    seal_folder(arguments.output / DATASET)
    print(f"published in {arguments.output}: a dataset, and {', '.join(spec.policies)}")
    if hub is not None:
        for address in upload(hub, arguments.output, names, private=settings.private):
            print(f"uploaded to {address}")


def make_parser() -> ArgumentParser:
    parser = program_parser(__doc__, PublishSpec)
    parser.add_argument("--results", type=Path, required=True, help="the folder of the experiment's results")
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="Parquet files in it to publish")
    parser.add_argument("--folders", type=Path, nargs="*", default=[], help="models in it that the experiment made")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="the policies in it to publish")
    parser.add_argument("--output", type=Path, required=True, help="the folder to make, or to bring up to date")
    return parser


def fill_dataset(published: PublishedFolder, facts: Facts, folders: Sequence[Path], name: str) -> None:
    """The dataset: the results at the paths that they have here, and the pairs in the columns of other trainers.

    Args:
        folders: models that the experiment made.
        name: what `load_dataset` is given, for the card.
    """
    results = facts.results
    files = {place: facts.rows(place) for place in facts.places}
    for place in facts.places:
        published.link(results / place, f"{DATASET}/{place}")
        if "/pairs/" in place:
            target = published.path(f"{DATASET}/{preferences_place(place)}")
            write_preferences(Path(__file__), results / "prompts.parquet", results / place, target)
            files[preferences_place(place)] = count_rows(target)
    for folder in folders:
        published.link_folder(folder, f"{DATASET}/{folder.relative_to(results).as_posix()}")
    for record in RECORDS:
        if (results / record).is_file():
            published.link(results / record, f"{DATASET}/{record}")
    published.write(f"{DATASET}/{EXPERIMENT_FILE}", settings_text(facts))
    published.write(f"{DATASET}/{CARD}", dataset_card(facts, datasets_of(files), files, name))
    published.path(f"{DATASET}/{SUMS}")


def fill_model(published: PublishedFolder, facts: Facts, checkpoint: Path) -> None:
    """A policy: its checkpoint with another card, and adapters that name what they are loaded onto."""
    policy = checkpoint.parent.name
    origin = folder_provenance(checkpoint) or {}
    texts = {CARD: model_card(facts, policy, checkpoint, origin)}
    adapter = adapter_configuration(facts, checkpoint, origin)
    if adapter is not None:
        texts[ADAPTER] = adapter
    texts[SUMS] = changed_sums(checkpoint, texts)
    published.link_folder(checkpoint, model_folder(policy), without=texts)
    for name, text in texts.items():
        published.write(f"{model_folder(policy)}/{name}", text)


if __name__ == "__main__":
    run(main)
