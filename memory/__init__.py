"""What a swarm remembers: the store, the vector index, ranking, the graph and the memory actor."""
