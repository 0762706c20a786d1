"""Markets: tasks allocated by auction, measured against the optimum."""
