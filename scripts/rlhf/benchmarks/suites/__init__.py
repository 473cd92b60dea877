"""How the benchmark libraries are run: processes of their own, whose logs are never shown, and what they leave."""
