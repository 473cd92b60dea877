"""Twenty training steps with FSDP2, in a group of one process."""

from tasks import Exam, Task
from training_rows import alone_in_its_group, compared_tasks


def tasks(exam: Exam) -> list[Task]:
    if not exam.no_gpu:
        alone_in_its_group()
    return compared_tasks(exam, "fsdp2", exam.no_gpu)
