"""Hard ceilings in tokens and money of a run, of each role and of each agent: reserved before a call, settled after.

Rules:
* A call reserves the most that it can use; it is refused if any of its ceilings would not hold with all that is
  reserved. So what is spent goes over a ceiling only where a call uses more than it reserved (a prompt that was only
  estimated), and by no more than the calls in flight do.
* A call that definitely did not happen is given back. One that may have happened is charged what it reserved.
* Where there is a ceiling in money, a price must be known: an unknown one is not zero.
* With a ledger (`inference/ledger.py`) a budget outlives its process.
* Money is counted in whole billionths of a dollar, charges rounded up, so that sums neither drift nor lose.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from inference.errors import BudgetExceeded, ConfigurationError
from inference.ledger import Ledger
from inference.limits import BudgetLimits, Ceiling
from inference.request import Caller

_BILLION = 1_000_000_000


@dataclass
class _Account:
    """What stands against one ceiling, in tokens and in billionths of a dollar."""

    name: str
    ceiling: Ceiling
    spent: list[int]
    reserved: list[int]


@dataclass(frozen=True)
class Spent:
    """What an account has spent and what it holds for calls in flight."""

    tokens: int
    usd: float
    reserved_tokens: int
    reserved_usd: float


class Reservation:
    """What is held for one call. It ends once: settled, released or forfeited."""

    def __init__(
        self,
        accounts: tuple[_Account, ...],
        held: tuple[int, int],
        ended: Callable[[int, int], None] | None = None,
    ) -> None:
        self._accounts = accounts
        self._held = held
        self._ended = ended
        self._open = True

    def settle(self, tokens: int, usd: float | None) -> None:
        """The call used so much. Money that is not known is charged as reserved."""
        self._end((tokens, self._held[1] if usd is None else _billionths(usd)))

    def release(self) -> None:
        """The call definitely did not happen."""
        self._end((0, 0))

    def forfeit(self) -> None:
        """The call may have happened, and what it used is not known."""
        self._end(self._held)

    def _end(self, charge: tuple[int, int]) -> None:
        assert self._open, "a reservation ends once"
        self._open = False
        for account in self._accounts:
            for unit in (0, 1):
                account.reserved[unit] -= self._held[unit]
                account.spent[unit] += charge[unit]
        if self._ended is not None:
            self._ended(*charge)


class Budget:
    """The ceilings of a run, and what stands against them."""

    def __init__(self, limits: BudgetLimits, ledger: Ledger | None = None) -> None:
        """With a `ledger` it goes on from what stands there, and keeps it."""
        self._limits = limits
        self._ledger = ledger
        self._accounts: dict[str, _Account] = {}
        for (role, agent), spent in ledger.spent.items() if ledger is not None else ():
            for account in self._accounts_of(Caller(agent, role)):
                for unit in (0, 1):
                    account.spent[unit] += spent[unit]

    def reserve(self, caller: Caller, tokens: int, usd: float | None) -> Reservation:
        """Holds the most that a call can use. Raises `BudgetExceeded` if a ceiling does not allow it."""
        accounts = tuple(self._accounts_of(caller))
        amount = (tokens, 0 if usd is None else _billionths(usd))
        for account in accounts:
            if account.ceiling.usd is not None and usd is None:
                raise ConfigurationError(
                    f"{account.name} has a ceiling of {account.ceiling.usd:g} USD, and the model's price is not known: "
                    f"give the model its Price (FREE if it costs nothing), or leave the ceiling out"
                )
            _check(account, amount)
        ended = None
        if self._ledger is not None:
            ended = partial(self._ledger.end, self._ledger.hold(caller.role, caller.agent, *amount))
        for account in accounts:
            for unit in (0, 1):
                account.reserved[unit] += amount[unit]
        return Reservation(accounts, amount, ended)

    def close(self) -> None:
        """Lets the ledger go. It may be called twice."""
        if self._ledger is not None:
            self._ledger.close()

    def charge(self, caller: Caller, tokens: int, usd: float) -> None:
        """Adds what was spent before, by a process that is no more. Ceilings do not stop it: it has happened."""
        for account in self._accounts_of(caller):
            account.spent[0] += tokens
            account.spent[1] += _billionths(usd)

    def spent(self, *, role: str | None = None, agent: str | None = None) -> Spent:
        """Of the run; or of a role; or of an agent."""
        name = (
            f"the agent {agent}"
            if agent is not None
            else f"the role {role}"
            if role is not None
            else "the run"
        )
        account = self._accounts.get(name) or _Account(name, Ceiling(), [0, 0], [0, 0])
        return Spent(
            account.spent[0],
            account.spent[1] / _BILLION,
            account.reserved[0],
            account.reserved[1] / _BILLION,
        )

    def _accounts_of(self, caller: Caller) -> list[_Account]:
        limits = self._limits
        wanted = [("the run", limits.run)]
        if caller.role:
            wanted.append((f"the role {caller.role}", limits.roles.get(caller.role, limits.each_role)))
        if caller.agent:
            wanted.append((f"the agent {caller.agent}", limits.agents.get(caller.agent, limits.each_agent)))
        return [
            self._accounts.setdefault(name, _Account(name, ceiling, [0, 0], [0, 0]))
            for name, ceiling in wanted
        ]


def _billionths(usd: float) -> int:
    return math.ceil(usd * _BILLION - 1e-6)  # 0.1 * 1e9 is 1e8 and a little; that little is no billionth


def _check(account: _Account, amount: tuple[int, int]) -> None:
    ceiling = account.ceiling
    ceilings = (ceiling.tokens, None if ceiling.usd is None else _billionths(ceiling.usd))
    for unit, limit in enumerate(ceilings):
        held = account.spent[unit] + account.reserved[unit]
        if limit is not None and held + amount[unit] > limit:
            raise BudgetExceeded(
                f"{account.name} may spend {_amount(limit, unit)}: {_amount(account.spent[unit], unit)} are spent, "
                f"{_amount(account.reserved[unit], unit)} held for calls in flight, and this call may use "
                f"{_amount(amount[unit], unit)}",
                account=account.name.split()[1],
                unit=("tokens", "usd")[unit],
                final=account.spent[unit] + amount[unit] > limit,
            )


def _amount(number: int, unit: int) -> str:
    return f"{number:,} tokens" if unit == 0 else f"{number / _BILLION:g} USD"
