"""Commands about runs: what one would do, going on after an interruption, keeping results, tidying up."""
