"""Running a swarm: the command line, experiments, reports, the gateway, observability and deployment."""
