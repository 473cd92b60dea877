"""A stand-in for `pynvml`: the GPUs that the environment variable PRETENDED_GPUS names by their UUIDs."""

import os


class NVMLError(Exception):
    """Any error of the library."""


class NVMLError_LibraryNotFound(NVMLError):
    """There is no driver."""


class NVMLError_DriverNotLoaded(NVMLError):
    """The driver is installed, and not loaded."""


def nvmlInit() -> None:
    if error := os.environ.get("PRETENDED_ERROR"):
        raise globals()[error]("driver and library differ")


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(_uuids())


def nvmlDeviceGetHandleByIndex(index: int) -> str:
    return _uuids()[index]


def nvmlDeviceGetUUID(handle: str) -> str:
    if handle == "lost":
        raise NVMLError("GPU is lost")
    return handle


def _uuids() -> list[str]:
    return os.environ["PRETENDED_GPUS"].split()
