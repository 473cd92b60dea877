"""Files and folders: written atomically, with checksums, and full disks as sentences."""
