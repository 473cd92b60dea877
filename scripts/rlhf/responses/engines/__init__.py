"""What samples: one file per engine."""
