"""A request to a model: messages, tools, the form of the answer, and all sampling parameters.

Rules:
* A request is checked when it is made, as far as it can be without a model; each fault has its field and its mend.
* A request is plain data. `request_hash` is the same on every machine and in every process: it names a completion in
  a recording, a computation in flight, and the seed of a scripted answer.
* A field that holds its default is not part of the hash. So a field that is added later leaves old hashes as they are.
* Who asks (`Caller`) and until when (`timeout_s`) decide when a request is answered, never how: they are not hashed.
"""

import math
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from typing import Any, Literal

import msgspec
from msgspec.structs import force_setattr

from inference.check import as_tuple, check_float, check_int, check_text
from inference.errors import BadRequest
from inference.message import NAME, ChatMessage

MESSAGES = 10_000
SAMPLES = 128
STOPS = 16
TOOLS = 128


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How tokens are drawn. The defaults are neutral: the model's own distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    max_tokens: int = 512
    """Of each sample. There is always a limit."""
    n: int = 1
    """Samples of one prompt."""
    logprobs: int | None = None
    """None for none; k for each token's log-probability with those of the k likeliest."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("temperature", 0.0, 2.0),
            ("top_p", 0.0, 1.0),
            ("min_p", 0.0, 1.0),
            ("frequency_penalty", -2.0, 2.0),
            ("presence_penalty", -2.0, 2.0),
            ("repetition_penalty", 0.0, 10.0),
        ):
            check_float(self, name, least, most)
        for name in ("top_p", "repetition_penalty"):
            if getattr(self, name) == 0:
                raise BadRequest(f"{name} is 0: give more than 0, 1 for no effect")
        check_int(self, "top_k", 0, 1 << 31)
        check_int(self, "max_tokens", 1, 1 << 31)
        check_int(self, "n", 1, SAMPLES)
        if self.seed is not None:
            check_int(self, "seed", 0, (1 << 63) - 1)
        if self.logprobs is not None:
            check_int(self, "logprobs", 0, 20)
        as_tuple(self, "stop", (str,))
        if len(self.stop) > STOPS or not all(self.stop):
            raise BadRequest(f"stop holds {len(self.stop)} texts: give at most {STOPS}, none empty")


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool that the model may call. `parameters` is the JSON schema of an object; it is copied."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = True
    """The schema binds the model where the engine can (vLLM binds it only so)."""

    def __post_init__(self) -> None:
        check_text(self.name, "a tool's name")
        if not NAME.fullmatch(self.name):
            raise BadRequest(f"a tool is called {self.name!r}: use 1 to 64 letters, digits, _ and -")
        check_text(self.description, f"the description of the tool {self.name}")
        schema = checked_schema(self.parameters, f"the parameters of the tool {self.name}")
        if schema.get("type") != "object":
            raise BadRequest(f'the parameters of the tool {self.name} must have "type": "object"')
        force_setattr(self, "parameters", schema)


SchemaKind = Literal["json_schema", "regex", "choice", "grammar"]


class ResponseSchema(msgspec.Struct, frozen=True):
    """What form the answer must have: exactly one of a JSON schema, a regular expression, a choice, a grammar."""

    kind: SchemaKind
    value: Any
    """A JSON schema; a regular expression or a grammar (EBNF) as text; for a choice, a list of texts."""

    def __post_init__(self) -> None:
        if self.kind == "json_schema":
            force_setattr(self, "value", checked_schema(self.value, "the response schema"))
        elif self.kind == "choice":
            if not isinstance(self.value, list | tuple) or len(set(map(str, self.value))) < len(self.value):
                raise BadRequest(f"a choice is a list of different texts, not {self.value!r:.80}")
            for text in self.value:
                check_text(text, "a choice")
            if not self.value or not all(self.value):
                raise BadRequest("a choice needs at least one text, and none may be empty")
            force_setattr(self, "value", list(self.value))
        elif self.kind in ("regex", "grammar"):
            check_text(self.value, f"a {self.kind}")
            if not self.value:
                raise BadRequest(f"a {self.kind} must not be empty")
        else:
            raise BadRequest(f"kind is {self.kind!r}: give json_schema, regex, choice or grammar")

    @classmethod
    def json(cls, schema: dict[str, Any]) -> "ResponseSchema":
        """The answer is JSON that the schema allows."""
        return cls("json_schema", schema)

    @classmethod
    def choice(cls, *texts: str) -> "ResponseSchema":
        """The answer is one of these texts."""
        return cls("choice", list(texts))


class Caller(msgspec.Struct, frozen=True):
    """Who asks: for fairness, budgets and routing. No part of what is asked."""

    agent: str = ""
    role: str = ""
    run: str = ""
    conversation: str = ""
    """Requests of one conversation go to the same replica, which has what was said in its cache."""
    priority: int = 0
    """-100 to 100; greater goes first."""

    def __post_init__(self) -> None:
        for name in ("agent", "role", "run", "conversation"):
            check_text(getattr(self, name), f"a caller's {name}")
        check_int(self, "priority", -100, 100)


_NEUTRAL = Sampling()
_NOBODY = Caller()


class Request(msgspec.Struct, frozen=True):
    """What a model is asked."""

    messages: tuple[ChatMessage, ...]
    sampling: Sampling = _NEUTRAL
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the one tool that must be called."""
    response_schema: ResponseSchema | None = None
    token_ids: bool = False
    """True asks for the ids of the answer's tokens."""
    caller: Caller = _NOBODY
    timeout_s: float | None = None
    """From the call on, waiting and retries included; None for the model's own limit."""

    def __post_init__(self) -> None:
        as_tuple(self, "messages", (ChatMessage,))
        as_tuple(self, "tools", (Tool,))
        if not 1 <= len(self.messages) <= MESSAGES:
            raise BadRequest(f"messages holds {len(self.messages)}: give 1 to {MESSAGES:,}")
        names = [tool.name for tool in self.tools]
        if len(names) > TOOLS or len(set(names)) < len(names):
            raise BadRequest(f"tools holds {len(names)}: give at most {TOOLS}, each with a name of its own")
        if self.tool_choice not in ("auto", "none") and not names:
            raise BadRequest(
                f"tool_choice is {self.tool_choice!r}, and there are no tools: give tools, or 'auto'"
            )
        if self.tool_choice not in ("auto", "none", "required", *names):
            raise BadRequest(
                f"tool_choice is {self.tool_choice!r}: give auto, none, required or one of {', '.join(names)}"
            )
        if self.timeout_s is not None:
            check_float(self, "timeout_s", 0.0, math.inf)
        _check_results(self.messages)

    @classmethod
    def of(
        cls,
        text: str,
        *,
        system: str = "",
        sampling: Sampling = _NEUTRAL,
        tools: tuple[Tool, ...] = (),
        tool_choice: str = "auto",
        response_schema: ResponseSchema | None = None,
        token_ids: bool = False,
        caller: Caller = _NOBODY,
        timeout_s: float | None = None,
    ) -> "Request":
        """A question, and what the model is told to be; the rest as in the class."""
        first = (ChatMessage.system(system),) if system else ()
        messages = (*first, ChatMessage.user(text))
        return cls(messages, sampling, tools, tool_choice, response_schema, token_ids, caller, timeout_s)

    @property
    def deterministic(self) -> bool:
        """True if the same answer is expected each time: it is greedy, or seeded."""
        return self.sampling.temperature == 0 or self.sampling.seed is not None

    def content(self) -> dict[str, Any]:
        """All that decides the answer, as plain JSON values; fields at their default are left out."""
        plain: dict[str, Any] = {"messages": msgspec.to_builtins(self.messages)}
        sampling = msgspec.to_builtins(self.sampling)
        if sampling:
            plain["sampling"] = sampling
        if self.tools:
            plain["tools"] = msgspec.to_builtins(self.tools)
        if self.tool_choice != "auto":
            plain["tool_choice"] = self.tool_choice
        if self.response_schema is not None:
            plain["response_schema"] = msgspec.to_builtins(self.response_schema)
        if self.token_ids:
            plain["token_ids"] = True
        return plain


def request_hash(request: Request | dict[str, Any], model: str) -> str:
    """32 hexadecimal digits: BLAKE2b of a request, or its content, and the model's identity, as sorted JSON."""
    content = request if isinstance(request, dict) else request.content()
    return blake2b(canonical_json([model, content]), digest_size=16).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: one text for one value."""
    return msgspec.json.encode(value, order="deterministic")


def checked_schema(schema: Any, what: str) -> dict[str, Any]:
    """A copy of a JSON schema. Raises `BadRequest` if it is none (draft 2020-12)."""
    try:
        text = canonical_json(schema)
        copy = msgspec.json.decode(text)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise BadRequest(f"{what} cannot be written as JSON: {error}") from None
    if not isinstance(copy, dict):
        raise BadRequest(f"{what} must be a JSON schema, an object, not {schema!r:.80}")
    fault = _schema_fault(text)
    if fault:
        raise BadRequest(f"{what} is no JSON schema: {fault}")
    return copy


@lru_cache(maxsize=1_000)
def _schema_fault(schema: bytes) -> str:
    """What is wrong with a JSON schema; empty if nothing. Remembered: thousands of agents share a few schemas."""
    jsonschema = import_module("jsonschema")  # a quarter of a second, so only where there is a schema
    try:
        jsonschema.Draft202012Validator.check_schema(msgspec.json.decode(schema))
    except jsonschema.SchemaError as error:
        where = "/".join(map(str, error.path))
        return f"{where}: {error.message}" if where else str(error.message)
    return ""


def _check_results(messages: tuple[ChatMessage, ...]) -> None:
    """Every result answers a call that was made before it."""
    called: set[str] = set()
    for number, message in enumerate(messages):
        called.update(call.id for call in message.tool_calls)
        if message.role == "tool" and message.tool_call_id not in called:
            raise BadRequest(
                f"messages[{number}] answers the tool call {message.tool_call_id!r}, which no assistant's message "
                f"before it holds: keep the assistant's message with its tool_calls"
            )
