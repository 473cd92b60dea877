# Where the programs are: beside this file, or in a copy of the repository that a `module` statement names.
import tarfile
import tempfile


def source_tree(folder):
    """The folder of the Snakefile; of one that Snakemake reads from GitHub or GitLab, a copy of the whole commit."""
    if folder.is_local:
        return Path(os.fspath(folder)).resolve()
    repository = folder.hosted_repo.repo
    commit = repository.commit(folder.ref).hexsha
    copy = Path(".snakemake/rlhf", commit).resolve()
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copy.parent) as temporary:
            archive, files = Path(temporary, "archive.tar"), Path(temporary, "files")
            with archive.open("wb") as stream:
                repository.archive(stream, commit)
            with tarfile.open(archive) as tar:
                tar.extractall(files, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
            files.rename(copy)
    return copy / folder.path


SOURCES = source_tree(workflow.current_basedir.join(".."))
