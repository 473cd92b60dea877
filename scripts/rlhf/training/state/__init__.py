"""What a training writes to disk: the states from which it resumes after a kill, and the checkpoint."""
