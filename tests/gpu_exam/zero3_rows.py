"""Twenty training steps with DeepSpeed's ZeRO-3, in a group of one process."""

from tasks import Exam, Task, not_installed
from training_rows import alone_in_its_group, compared_tasks


def tasks(exam: Exam) -> list[Task]:
    missing = not_installed("deepspeed")
    if not missing:
        alone_in_its_group()
    return compared_tasks(exam, "zero3", missing)
