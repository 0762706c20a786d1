"""What a researcher runs: experiment files, and the agents that they name."""
