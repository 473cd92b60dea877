"""The folder of the report, written atomically."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.report.figures import Drawing, evaluation_figures, pair_figure
from rlhf.report.material import Material
from rlhf.report.page import render
from rlhf.report.style import figure_style
from rlhf.report.summary import markdown, model_cards, summarize, summarize_benchmarks
from rlhf.report.sweeps.figures import sweep_figures
from rlhf.report.training_figures import training_figures

PAGE, SUMMARY, FIGURES, CARDS = "index.html", "summary.md", "figures", "model_cards"


def write_report(material: Material, output: Path, provenance: Mapping[str, Any]) -> None:
    """Write `index.html`, `summary.md`, `figures/*.svg` and `provenance.json` atomically; with benchmarks also
    `model_cards/<policy>.md`.

    Raises:
        UserError: `output` exists and is not a report.
    """
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / PAGE).is_file())):
        raise UserError(f"{output}: this is there, and it is no report. Give another --output.")
    summary, benchmarks, drawings = summarize(material), summarize_benchmarks(material), draw(material)
    tables = [markdown(table) for table in (summary, benchmarks) if table is not None]
    files = {PAGE: render(material, summary, benchmarks, drawings), SUMMARY: "\n".join(tables)}
    files |= {f"{FIGURES}/{drawing.name}.svg": drawing.svg for drawing in drawings}
    cards = {f"{CARDS}/{policy}.md": text for policy, text in model_cards(material).items()}
    with whole_folder(output) as folder:
        for name in (FIGURES, *([CARDS] if cards else [])):
            (folder / name).mkdir()
        for name, text in {**files, **cards}.items():
            (folder / name).write_text(text, encoding="utf-8")
        write_folder_provenance(folder, provenance)


def draw(material: Material) -> list[Drawing]:
    """All figures for which there is data."""
    with figure_style():
        drawings = [*evaluation_figures(material), *sweep_figures(material.sweeps), *training_figures(material)]
        pairs = pair_figure(material)
    return [*drawings, pairs] if pairs else drawings
