"""Questions of benchmarks are dropped by the rule that collects the prompts, and the plan knows of them."""

import json

import pyarrow.parquet as pq

from experiments import patch
from project import Project
from rerun_table import PROMPTS_ON, TABLE
from rlhf.prompts.schema import CONTAMINATION, PROMPTS

PROMPTS_FILE, LISTED = "results/micro/prompts.parquet", "results/micro/contamination.parquet"


def test_a_list_is_made_used_edited_and_removed(scratch_micro: Project) -> None:
    """Only `collect_prompts` and what follows it reruns, never the tiny world before it."""
    folder = scratch_micro.folder
    (row,) = (row for row in TABLE if "prompts.decontaminate.ngram" in row.edits)
    (changed,) = (rule for rule in PROMPTS_ON if rule == "collect_prompts")
    everything_after = {changed, *row.others, *(rule for rules in row.policies.values() for rule in rules)}
    texts = PROMPTS.read(folder / PROMPTS_FILE)["prompt"].to_pylist()
    (folder / "mine.jsonl").write_text(json.dumps({"turns": texts[:2]}) + "\n")

    def config(**benchmark: object) -> str:
        benchmarks = [{"dataset": "mine.jsonl", "column": "turns", "similarity": 1.0, **benchmark}]
        edited = {"prompts.decontaminate": benchmarks, "prompts.train": 6}
        return scratch_micro.write_config(patch(scratch_micro.read_config(), edited), "edited")

    assert scratch_micro.planned(configfile=config()).keys() == everything_after
    scratch_micro.run(PROMPTS_FILE, configfile=config())
    assert PROMPTS.read(folder / PROMPTS_FILE)["prompt"].to_pylist() == texts[2:]
    assert set(CONTAMINATION.read(folder / LISTED)["prompt"].to_pylist()) == set(texts[:2])
    assert set(pq.read_table(folder / LISTED)["benchmark"].to_pylist()) == {"mine"}
    assert scratch_micro.planned(PROMPTS_FILE, configfile=config()) == {}

    assert scratch_micro.planned(PROMPTS_FILE, configfile=config(name="other")).keys() == {changed}
    (folder / "mine.jsonl").write_text(json.dumps({"turns": texts[:1]}) + "\n")
    assert scratch_micro.planned(PROMPTS_FILE, configfile=config()).keys() == {changed}
    assert scratch_micro.planned(PROMPTS_FILE).keys() == {changed}  # without the list
