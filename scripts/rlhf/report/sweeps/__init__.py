"""What the page shows of sweeps."""
