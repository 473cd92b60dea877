"""What a training leaves on disk: the states from which a killed one goes on, and the checkpoint."""
