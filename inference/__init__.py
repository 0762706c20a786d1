"""Language models and embedders: the vLLM actor, endpoints, recorded answers and the routing between them."""
