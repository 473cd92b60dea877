"""What every stage builds on: errors, settings, artifacts and where they come from. It imports no other package."""
