"""The library behind the programs in `scripts/`: no Snakemake and no argument parsing in it."""
