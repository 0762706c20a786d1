"""Language models behind one door: scripted, recorded, OpenAI-compatible, Ollama; their limits and their routing.

Endpoints are imported from their modules (`inference.openai_endpoint`, `inference.ollama`), which need the extra
`endpoints`, and `inference.pydantic_ai_model`, which needs the extra `pydantic-ai`.
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
