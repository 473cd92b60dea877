"""Training on several processes: how they are started, divide the work, and fail."""
