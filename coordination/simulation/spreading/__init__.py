"""Campaigns over the protocols that replicate no log: rumours, membership, averages, elections, replicated types."""
