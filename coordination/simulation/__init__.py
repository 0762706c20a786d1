"""The simulator: protocols in virtual time, on a network and disks that fail as they are told to."""
