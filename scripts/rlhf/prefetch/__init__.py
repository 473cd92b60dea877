"""Downloads from the hub before any job runs."""
