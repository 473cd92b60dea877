"""What a plan checks of the world outside, before any job: models, datasets, scorers."""
