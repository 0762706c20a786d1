"""Language models behind one door: the contract, scripts, recordings, limits and routing.

What needs a package of its own, or is for one part of a cluster, is imported from its module:

* endpoints (extra `endpoints`): `inference.openai_endpoint`, `inference.ollama`; (`pydantic-ai`) `pydantic_ai_model`;
* vLLM (extra `vllm`, or `make vllm` on a CPU): `inference.vllm_engine` in this process, `inference.ray_vllm` in Ray's;
* a swarm's service: `inference.model_plan`, `inference.service`, `inference.pool`, `inference.ray_service`;
* embedders: `inference.embedder`, `inference.ray_embedder`; the tiny model: `inference.tiny`.
"""

from inference.budget import Budget
from inference.completion import Choice, Completion, Delta, Timing, TokenLogprob, Usage
from inference.endpoint import EndpointSettings
from inference.errors import (
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    ExtraMissing,
    InvalidAnswer,
    LLMError,
    QueueFull,
    RateLimited,
    RecordingBroken,
    RecordingMiss,
    Refused,
)
from inference.limited import LimitedLLM
from inference.limits import BudgetLimits, Ceiling, Rate, ServingLimits
from inference.llm import BaseLLM, TokenCount
from inference.message import ChatMessage, ImagePart, TextPart, ToolCall
from inference.price import FREE, Price
from inference.provider import open_model, parse_model
from inference.recorded import RecordedLLM
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool, request_hash
from inference.retry import RetryPolicy
from inference.router import Router, RoutingLimits
from inference.scripted import Rule, ScriptedLLM
from inference.secret import Secret

__all__ = [
    "FREE",
    "BadRequest",
    "BaseLLM",
    "Budget",
    "BudgetExceeded",
    "BudgetLimits",
    "Caller",
    "Ceiling",
    "ChatMessage",
    "Choice",
    "Completion",
    "ConfigurationError",
    "ContextTooLong",
    "DeadlinePassed",
    "Delta",
    "EndpointSettings",
    "EngineDead",
    "ExtraMissing",
    "ImagePart",
    "InvalidAnswer",
    "LLMError",
    "LimitedLLM",
    "Price",
    "QueueFull",
    "Rate",
    "RateLimited",
    "RecordedLLM",
    "RecordingBroken",
    "RecordingMiss",
    "Refused",
    "Request",
    "ResponseSchema",
    "RetryPolicy",
    "Router",
    "RoutingLimits",
    "Rule",
    "Sampling",
    "ScriptedLLM",
    "Secret",
    "ServingLimits",
    "TextPart",
    "Timing",
    "TokenCount",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "Usage",
    "open_model",
    "parse_model",
    "request_hash",
]
