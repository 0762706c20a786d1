"""Raft: a replicated log with one leader a term. See docs/raft.md."""
