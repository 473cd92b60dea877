"""What the Snakefile asks before any job runs. No program of a job imports it, and it is in no digest."""
