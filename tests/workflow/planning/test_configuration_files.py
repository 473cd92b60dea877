"""Files that are no configuration, before Snakemake sees them."""

from pathlib import Path

import pytest

from rlhf.base.errors import UserError
from run_commands import SCRIPTS, run_command
from workflow.planning.configuration_files import check_configuration_files

MICRO = (SCRIPTS.parent / "config/micro.yaml").read_text()
WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b" \n", "the file is empty"),
    "of Windows": (MICRO.encode("utf-16"), "it is in UTF-16; save it as UTF-8"),
    "Latin": ("experiment: café".encode("latin-1"), "byte 15 is not UTF-8"),
    "broken": (b"experiment: tiny\nprompts: {train: 3\nseed: 1\n", "line 3, column 5: this is not YAML: "),
    "with a tab": (b"prompts:\n\ttrain: 3\n", "line 2, column 1: this is not YAML: "),
    "of control characters": (b"experiment: \x07\n", "this is not YAML: "),
    "a list": (b"- experiment: tiny\n", "there are no keys at its top level"),
    "a model": (b'"safetensors"', "there are no keys at its top level"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_configuration(case: str, tmp_path: Path) -> None:
    content, said = WRONG[case]
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        check_configuration_files(["--cores", "1", "--configfile", str(path), "-n"])
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "config/config.yaml" in str(caught.value)


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        for arguments in (["--configfiles", str(path)], [f"--configfile={path}"]):
            with pytest.raises(UserError, match=f"{path}: {said}"):
                check_configuration_files(arguments)


def test_what_snakemake_reads_passes(tmp_path: Path) -> None:
    json, two = tmp_path / "tabs.json", tmp_path / "second.yaml"
    json.write_text('{\n\t"experiment": "tiny"\n}')
    two.write_text(MICRO)
    check_configuration_files(["--config", "seed=1", "--configfile", str(two), str(json), "--cores", "1"])
    check_configuration_files(["all", "--cores", "1"])


@pytest.mark.parametrize("name", ["plan", "accept", "resume"])
def test_commands_that_hand_arguments_to_snakemake_say_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    done = run_command(name, "--cores", "1", "--configfile", path, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: No such file or directory")
    assert "Traceback" not in done.stderr
