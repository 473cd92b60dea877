"""Files and folders: atomic writes, checksums, and readable errors on full disks."""
