"""PBFT: practical Byzantine fault tolerance, by Castro and Liskov."""
