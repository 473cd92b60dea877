"""What an experiment needs, before any job runs: for the Snakefile and `plan.py`, and in no program's digest."""
