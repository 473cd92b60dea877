"""The program evaluate_policy: rows, counts and errors, from real files."""

import json
import subprocess
from pathlib import Path

import pytest

from rlhf.base.artifacts import read_provenance
from rlhf.evaluation.schema import COMPARISONS, EVALUATION
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from warm_python import warm_program

PROGRAM = Path(__file__).parents[2] / "scripts" / "evaluate_policy.py"
Files = dict[str, Path]
SPEC = {"seed": 5, "policy": "rebel-1", "bootstrap_samples": 200, "confidence": 0.95}


def write_side(folder: Path, scores: dict[str, list[float | None]], tokens: int = 4) -> Files:
    """Responses, rewards and judgements (the negative rewards); the last draw of each prompt is cut."""
    keys = [(prompt_id, draw) for prompt_id, values in scores.items() for draw in range(len(values))]
    responses = [
        {
            "prompt_id": prompt_id,
            "draw": draw,
            "response": "word " * (draw + 1),
            "response_token_ids": [7] * (tokens + draw),
            "finish_reason": "length" if draw == len(scores[prompt_id]) - 1 else "stop",
            "seed": 0,
        }
        for prompt_id, draw in keys
    ]
    files = {name: folder / f"{name}.parquet" for name in ("responses", "rewards", "judgements")}
    RESPONSES.write(files["responses"], responses, {})
    for name, sign in (("rewards", 1), ("judgements", -1)):
        rows = []
        for prompt_id, draw in keys:
            score = scores[prompt_id][draw]
            rows.append(
                {
                    "prompt_id": prompt_id,
                    "draw": draw,
                    "reward": None if score is None else sign * score,
                    "invalid": "too_long" if score is None else None,
                    "objectives": None,
                }
            )
        REWARDS.write(files[name], rows, {})
    return files


def evaluate(output: Path, policy: Files, base: Files, judged: bool) -> subprocess.CompletedProcess[str]:
    command = [str(warm_program()), str(PROGRAM), "--spec", json.dumps(SPEC), "--output", str(output)]
    command += ["--comparisons", str(comparisons_of(output))]
    command += ["--responses", str(policy["responses"]), "--rewards", str(policy["rewards"])]
    command += ["--base-responses", str(base["responses"]), "--base-rewards", str(base["rewards"])]
    command += ["--judgements", *([str(policy["judgements"])] if judged else [])]
    command += ["--base-judgements", *([str(base["judgements"])] if judged else [])]
    return subprocess.run(command, capture_output=True, text=True)


def comparisons_of(output: Path) -> Path:
    return output.with_name(f"{output.stem}-comparisons.parquet")


@pytest.fixture
def policy(tmp_path: Path) -> Files:
    return write_side(tmp_path / "policy", {"a": [2.0, 0.0], "b": [1.0, None], "c": [None, None]})


@pytest.fixture
def base(tmp_path: Path) -> Files:
    return write_side(tmp_path / "base", {"a": [1.0, 1.0], "b": [1.0, 0.0], "c": [1.0, 1.0]})


def test_a_row_per_judge(tmp_path: Path, policy: Files, base: Files) -> None:
    done = evaluate(tmp_path / "evaluation.parquet", policy, base, judged=True)
    assert done.returncode == 0, done.stderr
    rows = {row["judge"]: row for row in EVALUATION.read(tmp_path / "evaluation.parquet").to_pylist()}
    assert rows.keys() == {"reward", "judge"}
    reward = rows["reward"]
    assert reward["policy"] == "rebel-1"
    assert reward["mean_reward"] == 1.0  # of 2, 0, 1
    assert reward["win_rate"] == pytest.approx((0.5 + 0.75) / 2)
    assert reward["win_rate_low"] == 0.5
    assert reward["win_rate_high"] == 0.75
    assert reward["mean_tokens"] == 4.5
    assert reward["truncated"] == 0.5
    assert rows["judge"]["mean_reward"] == -1.0
    assert rows["judge"]["win_rate"] == pytest.approx((0.5 + 0.25) / 2)


def test_what_was_left_out_is_counted_and_logged(tmp_path: Path, policy: Files, base: Files) -> None:
    done = evaluate(tmp_path / "evaluation.parquet", policy, base, judged=False)
    assert done.returncode == 0, done.stderr
    counts = read_provenance(tmp_path / "evaluation.parquet")["counts"]
    assert counts == {
        "reward": {
            "prompts": 3,
            "prompts_without_valid_draws": 1,
            "draws": 6,
            "draws_without_score": 3,
            "duels": 6,
        }
    }
    assert "1 prompts, 3 of 6 draws" in done.stderr


def test_base_against_itself_is_one_half_and_bytes_repeat(tmp_path: Path, base: Files) -> None:
    for name in ("first", "second"):
        done = evaluate(tmp_path / name, base, base, judged=True)
        assert done.returncode == 0, done.stderr
    for row in EVALUATION.read(tmp_path / "first").to_pylist():
        assert [row[name] for name in ("win_rate", "win_rate_low", "win_rate_high")] == [0.5] * 3
    first, second = tmp_path / "first", tmp_path / "second"
    assert first.read_bytes() == second.read_bytes()
    assert comparisons_of(first).read_bytes() == comparisons_of(second).read_bytes()


def test_a_comparison_per_scored_draw(tmp_path: Path, policy: Files, base: Files) -> None:
    """Draws without a score, and prompts without one on either side, are in none."""
    done = evaluate(tmp_path / "evaluation.parquet", policy, base, judged=True)
    assert done.returncode == 0, done.stderr
    rows = COMPARISONS.read(comparisons_of(tmp_path / "evaluation.parquet")).to_pylist()
    word = len("word ")
    assert [row for row in rows if row["judge"] == "reward"] == [
        {
            "judge": "reward",
            "policy": "rebel-1",
            "prompt_id": prompt_id,
            "draw": draw,
            "preference": preference,
            "length": word * (draw + 1),
            "reference_length": 1.5 * word,
        }
        for prompt_id, draw, preference in (("a", 0, 1.0), ("a", 1, 0.0), ("b", 0, 0.75))
    ]
    assert [row["preference"] for row in rows if row["judge"] == "judge"] == [0.0, 1.0, 0.25]


def test_other_prompts_are_a_user_error(tmp_path: Path, policy: Files) -> None:
    other = write_side(tmp_path / "other", {"a": [1.0], "b": [1.0]})
    done = evaluate(tmp_path / "evaluation.parquet", policy, other, judged=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "'c'" in done.stderr
    assert not (tmp_path / "evaluation.parquet").exists()


def test_rewards_of_another_part_are_a_user_error(tmp_path: Path, policy: Files, base: Files) -> None:
    done = evaluate(tmp_path / "evaluation.parquet", policy | {"rewards": _shorter(tmp_path)}, base, judged=False)
    assert done.returncode == 1
    assert "no score of prompt_id='b', draw=0" in done.stderr


def test_judgements_of_one_side_are_a_user_error(tmp_path: Path, policy: Files, base: Files) -> None:
    command: list[str | Path] = [
        warm_program(),
        PROGRAM,
        "--spec",
        json.dumps(SPEC),
        "--output",
        tmp_path / "evaluation",
        "--comparisons",
        tmp_path / "comparisons",
    ]
    command += ["--responses", policy["responses"], "--rewards", policy["rewards"], "--base-responses"]
    command += [base["responses"], "--base-rewards", base["rewards"], "--judgements", policy["judgements"]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "one side" in done.stderr


def _shorter(folder: Path) -> Path:
    return write_side(folder / "shorter", {"a": [2.0, 0.0]})["rewards"]


@pytest.mark.parametrize("scored", ["rewards", "judgements"])
def test_scores_by_two_revisions_of_a_model_are_not_compared(
    scored: str, tmp_path: Path, policy: Files, base: Files
) -> None:
    for files, commit in ((policy, "a" * 40), (base, "b" * 40)):
        REWARDS.write(files[scored], REWARDS.read(files[scored]), {"model_revision": commit})
    done = evaluate(tmp_path / "evaluation.parquet", policy, base, judged=True)
    assert done.returncode == 1
    assert f"{policy[scored]} has commit {'a' * 40}, but {base[scored]} has commit {'b' * 40}" in done.stderr
    assert not (tmp_path / "evaluation.parquet").exists()
