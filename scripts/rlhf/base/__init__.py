"""What every stage builds on: errors, settings, artifacts and their provenance. It imports no other package."""
