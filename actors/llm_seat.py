"""The language model as one agent has it: what `context.llm` is.

Rules:
* Every call goes through `context.effect`: its outcome, a completion or an error, is in the journal. So a replay needs
  no model, and a recovered cell asks again only what had no answer in its journal.
* Who asks is filled in (agent, role, run; the conversation is the message's context id), and a seed where the request
  samples and names none: a function of the run's seed, the agent and the number of the call. So the same run asks the
  same requests, on any number of cells, and a call that is made again is the same call.
* What an agent gets has no times, no cache counts and no cost, which may depend on them: they are not the same twice,
  and an agent that kept them would not be either. They are in the run's tables.
* `stream` gives the answer when it is whole, in one piece for each sample: what an agent does between pieces must be
  the same in a replay.
"""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from actors.address import role_of
from inference.completion import Completion, Timing
from inference.errors import BudgetExceeded, LLMError
from inference.failure import Failure
from inference.llm import BaseLLM, TokenCount
from inference.request import Caller, Request
from inference.seed import seeded

if TYPE_CHECKING:
    from actors.context import Context

SPENT = "model budget spent: "
"""How the count of refused calls begins that tells a run that its budget is spent; `tokens` or `usd` follows."""


class LLMSeats:
    """Gives each agent its seat before one model: `Plan(seats={"llm": LLMSeats(model)})`.

    On Ray the model must be one that can be sent to other processes, and each cell has its own copy of it.
    """

    def __init__(self, model: BaseLLM, seed: int | None = None) -> None:
        """`seed`: of the calls' seeds, if not the run's."""
        self._model = model
        self._seed = seed

    def __call__(self, context: "Context") -> "LLMSeat":
        """The seat of the agent whose turn it is."""
        return LLMSeat(self._model, context, self._seed)


class LLMSeat(BaseLLM):
    """One agent's model, for one turn."""

    def __init__(self, model: BaseLLM, context: "Context", seed: int | None = None) -> None:
        self._model = model
        self._context = context
        self._seed = seed

    @property
    def identity(self) -> str:
        """The model's own. Not journaled: what an agent does should not depend on it."""
        return self._model.identity

    async def complete(self, request: Request | str) -> Completion:
        """The model's answer to a request, or to a text from the user. Raises `LLMError`."""
        outcome = await self._context.effect(_completed, self._model, self._own(request))
        return msgspec.convert(self._told(outcome), Completion)

    async def count_tokens(self, request: Request | str) -> TokenCount:
        """The length of the prompt, by the model. Raises `LLMError`."""
        outcome = await self._context.effect(_counted, self._model, self._own(request))
        return msgspec.convert(self._told(outcome), TokenCount)

    def _own(self, request: Request | str) -> Request:
        """The request as this agent's call."""
        context = self._context
        # The seat is a part of the context, which shows agents neither their numbers nor the run's seed.
        cell, number = context._cell, context._resident.sequence + 1
        if not isinstance(request, Request):
            request = Request.of(request)
        caller = Caller(
            agent=context.address,
            role=role_of(context.address),
            run=cell.plan.run_id,
            conversation=request.caller.conversation or context.message.context_id,
            priority=request.caller.priority,
        )
        seed = cell.plan.seed if self._seed is None else self._seed
        return replace(seeded(request, seed, context.address, number), caller=caller)

    def _told(self, outcome: dict[str, Any]) -> Any:
        """What came of a call. Raises its error."""
        if "value" in outcome:
            return outcome["value"]
        error = Failure(**outcome["error"]).error()
        if isinstance(error, BudgetExceeded) and error.account == "run" and error.final:
            self._context._cell.counts[SPENT + error.unit] += 1
        raise error


async def _completed(model: BaseLLM, request: Request) -> dict[str, Any]:
    """A completion, or what kept it from being made, as plain data."""
    try:
        completion = await model.complete(request)
    except LLMError as error:
        return _failed(error)
    usage = replace(completion.usage, cached_tokens=None)
    return {"value": msgspec.to_builtins(replace(completion, usage=usage, timing=Timing(), cost_usd=None))}


async def _counted(model: BaseLLM, request: Request) -> dict[str, Any]:
    """A count, or an error, as plain data."""
    try:
        return {"value": msgspec.to_builtins(await model.count_tokens(request))}
    except LLMError as error:
        return _failed(error)


def _failed(error: LLMError) -> dict[str, Any]:
    failure = Failure.of(error)
    return {"error": {name: getattr(failure, name) for name in Failure.__struct_fields__}}
