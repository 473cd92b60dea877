"""What the Snakefile needs before any job runs. No rule's program imports it, and no digest contains it."""
