"""Tendermint: proposers in turn, two rounds of votes, locks; by Buchman, Kwon and Milosevic."""
