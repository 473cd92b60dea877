"""Stage 4: of each prompt a chosen and a rejected response."""
