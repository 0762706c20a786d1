"""Randomised agreement: Ben-Or's, and binary agreement with a common coin, as logs of slots."""
