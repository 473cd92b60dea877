"""GPUs and threads of a machine, and estimates of the memory and time that models need."""
