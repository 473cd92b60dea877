# The settings that each program reads, from the experiment's configuration. There is no rule in this file.
from rlhf.pairs.settings import DRAWN_CHOICES, PairSpec
from rlhf.prefetch.settings import HubDataset, PrefetchSpec
from rlhf.prompts.settings import CollectSpec
from rlhf.prompts.split_sizes import check_split_sizes
from rlhf.responses.settings import GenerateSpec, ImportResponsesSpec, ImportSpec, SamplingSettings
from rlhf.rewards.settings import CombineSpec, ScoreSpec
from workflow.sources import local_fingerprint
from rlhf.training.settings import Lineage, TrainSpec


def collect_spec():
    prompts = EXPERIMENT.prompts
    made = bool(made_by_rule(prompts.dataset))
    try:
        fingerprint = None if made else local_fingerprint(prompts.dataset)
    except UserError as error:
        stop(error)
    return CollectSpec(
        seed=EXPERIMENT.seed,
        dataset=None if made else prompts.dataset,
        dataset_fingerprint=fingerprint,
        revision=prompts.revision,
        subset=prompts.subset,
        split=prompts.split,
        column=prompts.column,
        system=prompts.system,
        max_tokens=prompts.max_tokens,
        model=policy_source("base"),
    )


def generate_spec(wildcards):
    return spec_json(
        GenerateSpec(
            seed=EXPERIMENT.seed,
            policy=wildcards.policy,
            model=policy_source(wildcards.policy),
            rows=rows(wildcards.part),
            **{name: getattr(EXPERIMENT.responses, name) for name in SamplingSettings.model_fields},
        )
    )


def import_settings(wildcards):
    imported = EXPERIMENT.responses.imported
    try:
        fingerprint = local_fingerprint(imported.dataset)
    except UserError as error:
        stop(error)
    return dict(
        dataset=imported.dataset,
        dataset_fingerprint=fingerprint,
        revision=imported.revision,
        subset=imported.subset,
        split=imported.split,
        column=imported.column,
        rows=rows(wildcards.part),
        draws=EXPERIMENT.responses.draws,
    )


def import_responses_spec(wildcards):
    return spec_json(
        ImportResponsesSpec(
            **import_settings(wildcards), model=policy_source("base"), max_tokens=EXPERIMENT.responses.max_tokens
        )
    )


def import_rewards_spec(wildcards):
    return spec_json(ImportSpec(**import_settings(wildcards)))


def score_spec(part, scorer):
    model = source(scorer.model, scorer.revision) if isinstance(scorer, ModelScorer) else None
    return spec_json(ScoreSpec(rows=rows(part), scorer=scorer, model=model))


def combine_spec(wildcards):
    weights = {name: weighted.weight for name, weighted in EXPERIMENT.rewards.scorers.items()}
    return spec_json(CombineSpec(weights=weights))


def pair_spec(wildcards):
    pairs = EXPERIMENT.pairs
    return spec_json(
        PairSpec(
            rows=rows(wildcards.part),
            choose=pairs.choose,
            target_margin=pairs.target_margin,
            min_margin=pairs.min_margin,
            seed=EXPERIMENT.seed if pairs.choose in DRAWN_CHOICES else None,
        )
    )


def train_spec(wildcards):
    variant = variant_and_iteration(wildcards.policy)[0]
    return spec_json(
        TrainSpec(
            seed=EXPERIMENT.seed,
            policy=wildcards.policy,
            lineage=Lineage(
                base_model=EXPERIMENT.base_model.name,
                parent=parent(wildcards.policy),
                dataset=EXPERIMENT.prompts.dataset,
            ),
            model=policy_source(parent(wildcards.policy)),
            precision=EXPERIMENT.logprobs.precision,
            temperature=EXPERIMENT.responses.temperature,
            loss=loss_of(wildcards.policy),
            recipe=EXPERIMENT.recipe(variant),
        )
    )


def prefetch_spec():
    """What comes from the hub, by the key that pins it."""
    scorers = (
        {f"rewards.scorers.{name}.scorer": weighted.scorer for name, weighted in EXPERIMENT.rewards.scorers.items()}
        if COMBINED
        else {"rewards": EXPERIMENT.rewards}
    )
    models = {"base_model.revision": (EXPERIMENT.base_model.name, EXPERIMENT.base_model.revision)}
    for key, scorer in {**scorers, "evaluation.judge": EXPERIMENT.evaluation.judge}.items():
        if isinstance(scorer, ModelScorer):
            models[f"{key}.revision"] = (scorer.model, scorer.revision)
    sources = {key: source(name, revision) for key, (name, revision) in models.items()}
    datasets = {"prompts.revision": EXPERIMENT.prompts, "responses.imported.revision": EXPERIMENT.responses.imported}
    return PrefetchSpec(
        models={key: model for key, model in sources.items() if model and not model.fingerprint},
        datasets={
            key: HubDataset(name=section.dataset, subset=section.subset, split=section.split, revision=section.revision)
            for key, section in datasets.items()
            if section and not made_by_rule(section.dataset) and local_fingerprint(section.dataset) is None
        },
    )


try:
    check_split_sizes(
        Path(RESULTS) / "prompts.parquet", EXPERIMENT.prompts.train, EXPERIMENT.prompts.test, collect_spec()
    )
except UserError as error:
    stop(error)
