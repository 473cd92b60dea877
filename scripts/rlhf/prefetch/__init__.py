"""Downloads from the hub, ahead of all jobs."""
