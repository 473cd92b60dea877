"""The program report, from real files."""

import json
import subprocess
from pathlib import Path

from synthetic_experiment import write_experiment
from warm_python import warm_program

PROGRAM = Path(__file__).parents[2] / "scripts" / "report.py"


def run(folder: Path, policies: list[str], label: str | None) -> subprocess.CompletedProcess[str]:
    spec = {"experiment": "tiny", "policies": policies, "judge_label": label, "examples": 2}
    files = write_experiment(folder, ["base", "rebel-1"], judged=label is not None)
    command = [str(warm_program()), str(PROGRAM), "--spec", json.dumps(spec), "--output", str(folder / "report")]
    for flag, value in vars(files).items():
        command += [
            f"--{flag.replace('_', '-')}",
            *map(str, value if isinstance(value, list) else [value] if value else []),
        ]
    return subprocess.run(command, capture_output=True, text=True)


def test_page_summary_and_figures(tmp_path: Path) -> None:
    done = run(tmp_path, ["base", "rebel-1"], "true quality")
    assert done.returncode == 0, done.stderr
    shown, origin = {"index.html", "summary.md", "figures"}, {"provenance.json", "SHA256SUMS"}
    assert {path.name for path in (tmp_path / "report").iterdir()} == shown | origin
    assert "rebel-1" in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")


def test_an_empty_list_of_judgements_is_no_judge(tmp_path: Path) -> None:
    done = run(tmp_path, ["base", "rebel-1"], None)
    assert done.returncode == 0, done.stderr
    assert "quality" not in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")


def test_files_of_another_policy_are_a_user_error(tmp_path: Path) -> None:
    done = run(tmp_path, ["base"], "true quality")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "report").exists()
