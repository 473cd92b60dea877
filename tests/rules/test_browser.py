"""The page opens in a real browser, by itself, without the network."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from project import Project

FLAGS = [
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found


def test_the_report_opens_in_a_browser(finished_micro: Project, browser: str, tmp_path: Path) -> None:
    page = finished_micro.folder / "results/micro/report/index.html"
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    picture = tmp_path / "page.png"
    command = [browser, *FLAGS, *sandbox, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    shown = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    for policy in ("base", "rebel-1", "rebel-2", "simpo-1"):
        assert policy in shown.stdout
    assert ":CONSOLE" not in shown.stderr
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 10_000
