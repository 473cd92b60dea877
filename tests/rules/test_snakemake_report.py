"""`snakemake --report` of a finished run holds the page, the table and every figure."""

from pathlib import Path

from project import Project


def test_the_report_of_snakemake_is_complete(finished_micro: Project, tmp_path: Path) -> None:
    finished_micro.run("--report", str(tmp_path / "run.html"))
    text = (tmp_path / "run.html").read_text()
    folder = finished_micro.folder / "results/micro/report"
    files = [path for path in folder.rglob("*") if path.suffix in (".html", ".md", ".svg")]
    assert len(files) >= 5
    assert [path.name for path in files if path.name not in text] == []
