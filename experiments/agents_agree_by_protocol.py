"""The game of `agents_agree` by other means: agents that may lie at will, and a protocol that decides.

Rules:
* Each agent signs its private number and proposes it; the protocol orders the proposals in one log that all honest
  agents share. What a proposal says is its signer's, whoever put it there; of each signer the first counts.
* Every agent decides on the (f + 1)-th smallest of the first n - f numbers in the log. At most f of them are liars', so
  it lies between the least and the greatest of honest numbers if n > 3f: the selection of Dolev et al., "Reaching
  approximate agreement in the presence of faults" (JACM 1986).
* Liars propose a number out of range, and lie in the protocol too, as `lie` says.
"""

from typing import Any

from actors import ConfigurationError, Context, Message
from coordination.catalogue import protocol_named
from coordination.replica import Replica
from coordination.signature import Signature
from experiments.agents_agree import check_game, is_liar, report

DELAY = 2.0
"""Rounds: what is sent in one round comes in the next."""


class Agreeing(Replica):
    """An agent that is a replica of the log, and its client."""

    def __init__(
        self,
        agents: int,
        liars: int = 0,
        values: int = 50,
        *,
        protocol: str = "pbft",
        lie: str = "equivocating",
    ) -> None:
        """`values`: private numbers are drawn from 0 to values - 1."""
        check_game(agents, liars, values)
        kind = protocol_named(protocol)
        if kind.faults != "byzantine" and liars:
            raise ConfigurationError(
                f"protocol: {protocol} withstands no liars. Give pbft, hotstuff or another."
            )
        self.most = kind.withstands(agents)
        super().__init__(
            protocol,
            agents,
            delay=DELAY,
            liars={str(number): lie for number in range(agents - liars, agents)},
        )
        self.values = values
        self.private = 0
        self.numbers: dict[int, int] = {}
        """The number that each signer proposed first, in the order of the log."""
        self.reported = False

    async def on_start(self, context: Context) -> None:
        """Draws its private number, and proposes it."""
        await super().on_start(context)
        self.private = context.rng.randrange(self.values)
        lies = is_liar(context.address, self.replicas, len(self.liars))
        number = 10 * self.values if lies else self.private
        signature = self._scheme(self._members()).sign(self.id, _statement(number))
        self.submit([[self.id, number, signature.proof]])
        await self._carry_out((), context)

    def apply(self, command: Any) -> Any:
        """A proposal that is in the log now."""
        match command:
            case [int(signer), int(number), bytes(proof)] if signer not in self.numbers:
                if self._scheme(self._members()).verify(_statement(number), Signature(signer, proof)):
                    self.numbers[signer] = number
        return None

    async def on_message(self, message: Message, context: Context) -> None:
        """As a replica; and decides when enough numbers are in the log."""
        await super().on_message(message, context)
        needed = self.replicas - self.most
        if not self.reported and len(self.numbers) >= needed:
            self.reported = True
            first = sorted(list(self.numbers.values())[:needed])
            if not is_liar(context.address, self.replicas, len(self.liars)):
                context.send("referee", report(self.private, first[self.most]))

    def _members(self) -> tuple[int, ...]:
        return tuple(range(1, self.replicas + 1))


def _statement(number: int) -> tuple[str, int]:
    return ("the private number of its signer", number)
