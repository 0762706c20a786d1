"""What we measure: each benchmark of `rayswarm bench NAME`, giving ratios within one run."""
