"""The randomised protocols, as the laboratory lists them.

Rules: one replica (`replica`), one reduction of batches to bits (`slot`), and for each protocol its agreement on a bit.
"""

from collections.abc import Callable

from coordination.protocol import Costs, ProtocolKind, Setting
from coordination.randomised.ben_or import BenOr
from coordination.randomised.coin_agreement import CoinAgreement
from coordination.randomised.replica import Randomised
from coordination.randomised.state import Flavour, State

Say = Callable[[int, int, int], None]


def _ben_or(state: State, slot: int, say: Say) -> BenOr:
    return BenOr(state.n, state.f, say, lambda: state.rng.getrandbits(1), liars=state.flavour.liars)


def _coin_agreement(state: State, slot: int, say: Say) -> CoinAgreement:
    return CoinAgreement(state.n, state.f, say, lambda number: state.coin(slot, number))


_BEN_OR = Flavour("ben-or", liars=False, faults=lambda n: (n - 1) // 2, instance=_ben_or)
_BEN_OR_BYZANTINE = Flavour("ben-or-byzantine", liars=True, faults=lambda n: (n - 1) // 5, instance=_ben_or)
_COIN_AGREEMENT = Flavour(
    "coin-agreement", liars=True, faults=lambda n: (n - 1) // 3, instance=_coin_agreement
)


def make_ben_or(setting: Setting) -> Randomised:
    """A replica of Ben-Or's protocol against crashes."""
    return Randomised(setting, _BEN_OR)


def make_ben_or_byzantine(setting: Setting) -> Randomised:
    """A replica of Ben-Or's protocol against liars."""
    return Randomised(setting, _BEN_OR_BYZANTINE)


def make_coin_agreement(setting: Setting) -> Randomised:
    """A replica of the agreement with a common coin."""
    return Randomised(setting, _COIN_AGREEMENT)


BEN_OR = ProtocolKind(
    name="ben-or",
    title="Ben-Or",
    make=make_ben_or,
    faults="crash",
    replicas=lambda f: 2 * f + 1,
    source="Ben-Or: Another advantage of free choice, PODC 1983",
    costs=Costs(
        messages=lambda n: (n - 1) * (4 * n + 1),
        delays=4,
        text="(n-1)(4n+1) messages: batch n^2-1, bit 2n(n-1), halting n(n-1); 4 delays",
    ),
    recovery_delays=1000,
)

BEN_OR_BYZANTINE = ProtocolKind(
    name="ben-or-byzantine",
    title="Ben-Or against liars",
    make=make_ben_or_byzantine,
    faults="byzantine",
    replicas=lambda f: 5 * f + 1,
    source="Ben-Or: Another advantage of free choice, PODC 1983; Bracha 1987 (broadcast)",
    costs=Costs(
        messages=lambda n: (n - 1) * (5 * n + 1),
        delays=5,
        text="(n-1)(5n+1) messages: batch (n-1)(2n+1), bit 2n(n-1), halting n(n-1); 5 delays",
    ),
    recovery_delays=1000,
)

COIN_AGREEMENT = ProtocolKind(
    name="coin-agreement",
    title="Common coin",
    make=make_coin_agreement,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Mostefaoui, Moumen, Raynal: Signature-free asynchronous Byzantine consensus, PODC 2014; "
    "MacBrough: Cobalt, 2018 (arXiv 1802.07240); Bracha 1987 (broadcast)",
    costs=Costs(
        messages=lambda n: (n - 1) * (6 * n + 1),
        delays=6,
        text="(n-1)(6n+1) messages: batch (n-1)(2n+1), bit 3n(n-1), halting n(n-1); 6 delays",
    ),
    recovery_delays=1000,
)
