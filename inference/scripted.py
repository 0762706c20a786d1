"""A model that answers by rules or by a function: for tests, demonstrations and experiments whose point is elsewhere.

Rules:
* Its answer is a function of the request's content, the script and the seed: the same alone, among thousands, in any
  order, on any machine. Sample i of n draws from a stream of its own (counter-based, as in Salmon et al., SC 2011).
* It keeps a model's limits: `max_tokens` cuts, `stop` stops, a prompt over the context raises, usage is counted by
  the simple tokenizer (`inference/simple_tokenizer.py`).
* It takes no time but the delays that it is given, on the clock that it is given.

It does not understand anything: a response schema other than a choice is not enforced, and `logprobs` are those of a
certain draw, 0.0 for each token.
"""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from hashlib import blake2b
from random import Random

import msgspec
from msgspec.structs import force_setattr, replace

from inference.clock import Clock, SystemClock
from inference.completion import Choice, Completion, Delta, FinishReason, Timing, TokenLogprob, Usage
from inference.errors import BadRequest, ConfigurationError, ContextTooLong, DeadlinePassed
from inference.llm import BaseLLM, TokenCount
from inference.message import ChatMessage, ToolCall
from inference.price import Price
from inference.request import Request, canonical_json, request_hash
from inference.simple_tokenizer import prompt_tokens, token_id, tokens_of

Answer = str | ChatMessage
"""What a script says: a text, or an assistant's message with tool calls."""
Script = Callable[[Request, Random], Answer]
"""Gives an answer to a request. It takes randomness from the generator it is handed, and from nowhere else."""


_FIELD = re.compile(r"\{(\w+)\}")


class Rule(msgspec.Struct, frozen=True):
    """What to answer where a pattern is found in the last message. The first rule that fits answers."""

    pattern: str
    """A regular expression, searched for; `.` also takes line ends. Empty fits always."""
    answers: tuple[str, ...] | str = ""
    """One is drawn. `{1}` or `{name}` stands for a group of the pattern, `{0}` for all that fits."""
    tool: str = ""
    """Calls this tool; its arguments are the answer, which is JSON then."""
    role: str = ""
    """Fits only where the last message is this role's (`user`, `tool`)."""
    system: str = ""
    """Fits only where this pattern is found in the system messages."""

    def __post_init__(self) -> None:
        if isinstance(self.answers, str):
            force_setattr(self, "answers", (self.answers,))
        if not self.answers:
            raise ConfigurationError(f"the rule for {self.pattern!r} has no answer: give at least one")
        fields = {*map(str, range(_compiled(self.pattern).groups + 1)), *_compiled(self.pattern).groupindex}
        _compiled(self.system)
        wrong = [name for answer in self.answers for name in _FIELD.findall(answer) if name not in fields]
        if wrong:
            raise ConfigurationError(
                f"an answer names {{{wrong[0]}}}, and {self.pattern!r} has no such group: give one of "
                f"{', '.join(sorted(fields))}, or write it with a space"
            )

    def answer(self, request: Request, rng: Random) -> ChatMessage | None:
        """The answer, or None if the rule does not fit."""
        last = request.messages[-1]
        found = _compiled(self.pattern).search(last.text)
        system = "\n".join(message.text for message in request.messages if message.role == "system")
        if not found or (self.role and self.role != last.role) or not _compiled(self.system).search(system):
            return None
        text = _filled(rng.choice(self.answers), found)
        if not self.tool:
            return ChatMessage.assistant(text)
        return ChatMessage.assistant(
            "", [ToolCall(f"call_{rng.getrandbits(48):012x}", self.tool, text or "{}")]
        )


class ScriptedLLM(BaseLLM):
    """Answers by rules, or by a function of the request and a generator."""

    def __init__(
        self,
        script: Script | Sequence[Rule],
        *,
        name: str = "scripted",
        seed: int = 0,
        context_tokens: int = 32_768,
        first_token_s: float = 0.0,
        token_s: float = 0.0,
        clock: Clock | None = None,
        price: Price | None = None,
    ) -> None:
        self._script = script if callable(script) else _by_rules(tuple(script))
        self._revision = str(seed) if callable(script) else f"{seed}-{_digest(tuple(script))}"
        self._name = name
        self._seed = seed
        self._context_tokens = context_tokens
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._clock = clock or SystemClock()
        self._price = price

    @property
    def identity(self) -> str:
        """`scripted:name@seed`, and for rules their digest. Two functions are told apart by name only."""
        return f"scripted:{self._name}@{self._revision}"

    async def complete(self, request: Request) -> Completion:
        """The script's answer, after its delay."""
        began = self._clock.now()
        completion = self._answer(request)
        longest = max(len(tokens_of(choice.text)) for choice in completion.choices)
        await self._wait(request, began, self._first_token_s + longest * self._token_s)
        return replace(completion, timing=Timing(total_s=self._clock.now() - began))

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The script's answer, token by token, one sample after the other."""
        began = self._clock.now()
        completion = self._answer(request)
        await self._wait(request, began, self._first_token_s)
        first_s = None
        for number, choice in enumerate(completion.choices):
            for token in tokens_of(choice.text):
                await self._wait(request, began, self._token_s)
                first_s = self._clock.now() - began if first_s is None else first_s
                yield Delta(token, number)
        timing = Timing(total_s=self._clock.now() - began, first_token_s=first_s)
        yield Delta(completion=replace(completion, timing=timing))

    async def count_tokens(self, request: Request) -> TokenCount:
        """The length of the prompt by the simple tokenizer, which is this model's own."""
        return TokenCount(prompt_tokens(request), exact=True)

    async def _wait(self, request: Request, began: float, seconds: float) -> None:
        left = None if request.timeout_s is None else began + request.timeout_s - self._clock.now()
        if left is not None and seconds > left:
            await self._clock.sleep(left)
            raise DeadlinePassed(
                f"the scripted model {self._name} did not answer within {request.timeout_s:g} s"
            )
        if seconds > 0:
            await self._clock.sleep(seconds)

    def _answer(self, request: Request) -> Completion:
        prompt = prompt_tokens(request)
        if prompt >= self._context_tokens:
            raise ContextTooLong(
                f"the prompt has {prompt:,} tokens and {self._name} takes {self._context_tokens:,}: shorten it",
                prompt_tokens=prompt,
                limit_tokens=self._context_tokens,
            )
        room = self._context_tokens - prompt
        choices: list[Choice] = []
        notes: tuple[str, ...] = ()
        count = 0
        for number in range(request.sampling.n):
            choice, tokens = _choice(self._said(request, number), request, room)
            choices.append(choice)
            count += tokens
        if room < request.sampling.max_tokens and any(choice.finish_reason == "length" for choice in choices):
            notes = (f"cut at {room:,} tokens by the context, before max_tokens",)
        usage = Usage(prompt, count, 0)
        cost_usd = None if self._price is None else self._price.cost_usd(usage)
        return Completion(tuple(choices), usage, self._name, cost_usd=cost_usd, notes=notes)

    def _said(self, request: Request, number: int) -> ChatMessage:
        key = f"{self._seed}\x1f{request_hash(request, self._name)}\x1f{number}"
        rng = Random(int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "big"))
        said = self._script(request, rng)
        if isinstance(said, str):
            said = ChatMessage.assistant(said)
        if not isinstance(said, ChatMessage) or said.role != "assistant":
            raise ConfigurationError(
                f"the script of {self._name} gave {said!r:.80}: give a text or an assistant's message"
            )
        schema = request.response_schema
        if schema is not None and schema.kind == "choice" and said.text not in schema.value:
            return ChatMessage.assistant(rng.choice(schema.value))
        return said


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.S)
    except re.error as error:
        raise ConfigurationError(f"the pattern {pattern!r} is no regular expression: {error}") from None


def _digest(rules: tuple[Rule, ...]) -> str:
    return blake2b(canonical_json(msgspec.to_builtins(rules)), digest_size=4).hexdigest()


def _filled(answer: str, found: re.Match[str]) -> str:
    """An answer with its groups put in: plain substitution, not `str.format`, which reaches attributes and widths."""

    def text(field: re.Match[str]) -> str:
        name = field.group(1)
        return found.group(int(name) if name.isdecimal() else name) or ""

    return _FIELD.sub(text, answer)


def _by_rules(rules: tuple[Rule, ...]) -> Script:
    def script(request: Request, rng: Random) -> Answer:
        for rule in rules:
            answer = rule.answer(request, rng)
            if answer is not None:
                return answer
        raise BadRequest(
            f"no rule fits {request.messages[-1].text[:80]!r}: add a last rule with an empty pattern, which fits always"
        )

    return script


def _choice(said: ChatMessage, request: Request, room: int) -> tuple[Choice, int]:
    """A sample within its limits, and its number of tokens."""
    sampling = request.sampling
    if sampling.stop:
        ends = [end for end in map(said.text.find, sampling.stop) if end >= 0]
        text = said.text[: min(ends)] if ends else said.text
    else:
        text = said.text
    tokens = tokens_of(text)
    limit = min(sampling.max_tokens, room)
    reason: FinishReason = "tool_calls" if said.tool_calls else "stop"
    if len(tokens) > limit:
        tokens, reason = tokens[:limit], "length"
    calls = said.tool_calls if reason == "tool_calls" else ()
    count = len(tokens) + sum(len(tokens_of(call.name + call.arguments)) for call in calls)
    choice = Choice(
        "".join(tokens),
        calls,
        reason,
        token_ids=tuple(map(token_id, tokens)) if request.token_ids else None,
        logprobs=None if sampling.logprobs is None else tuple(TokenLogprob(token, 0.0) for token in tokens),
    )
    return choice, count
