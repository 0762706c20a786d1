"""Seeds of requests: a function of the run's seed and of who asks what, the same on every machine.

A request that samples without a seed cannot be asked again. `seed_for(run seed, agent, message, ...)` is BLAKE2b of
its names (counter-based, as `actors/rng.py`: Salmon et al., SC 2011), so a seed depends neither on what others ask
nor on the order in which they do. Engines and endpoints keep seeds as well as they can: vLLM per request, others on
a best effort.
"""

from hashlib import blake2b

from msgspec.structs import replace

from inference.request import Request


def seed_for(run_seed: int, *names: str | int) -> int:
    """0 to 2**63 - 1. Different names (agent, message, call) give independent seeds."""
    # Lengths keep ("ab", "c") and ("a", "bc") apart, whatever the names hold.
    parts = [f"{len(str(part))}:{part}" for part in (run_seed, *names)]
    digest = blake2b("".join(parts).encode(), person=b"rayswarm-seed", digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seeded(request: Request, run_seed: int, *names: str | int) -> Request:
    """The request with a seed of its own, if it samples and its caller gave none."""
    if request.deterministic:
        return request
    return replace(request, sampling=replace(request.sampling, seed=seed_for(run_seed, *names)))
