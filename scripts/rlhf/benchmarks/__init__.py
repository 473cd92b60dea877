"""Stage 8: AlpacaEval 2, Arena-Hard, MT-Bench and tasks, by the libraries that hold them."""
