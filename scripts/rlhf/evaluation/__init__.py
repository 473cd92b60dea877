"""Stage 7: win rates against the base policy."""
