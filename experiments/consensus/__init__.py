"""Experiments with agreement protocols in the simulator: one agent runs one protocol under one load and faults."""
