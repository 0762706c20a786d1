"""Experiments on markets: mechanisms side by side, without a coordinator, among liars, and none at all."""
