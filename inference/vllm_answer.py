"""What vLLM's engine gives, whole or in pieces, as a completion.

Rules:
* The pieces of a sample, joined, are its text, whether there are tools or not.
* A sample that the engine aborted is no answer: `EngineDead`.
* That the context cut an answer is noted; that `max_tokens` did is its finish reason.
"""

from collections.abc import Iterator
from typing import Any

from inference.completion import Choice, Completion, Delta, FinishReason, Timing, TokenLogprob, Usage
from inference.errors import EngineDead
from inference.message import ToolCall
from inference.request import Request
from inference.vllm_tools import Formed, ToolFormat, ToolStream

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "repetition": "length"}


class _Sample:
    """A sample as it comes together."""

    def __init__(self, stream: ToolStream | None) -> None:
        self.stream = stream
        self.text: list[str] = []
        self.said: list[str] = []
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.reason: str | None = None


class AnswerAssembly:
    """An answer as it comes together: from one final output, or from pieces."""

    def __init__(
        self,
        request: Request,
        model: str,
        max_tokens: int,
        tools: ToolFormat,
        formed: Formed | None,
        *,
        streamed: bool,
    ) -> None:
        self._request = request
        self._model = model
        self._max_tokens = max_tokens
        self._tools = tools
        self._formed = formed
        self._streamed = streamed
        self._samples = [
            _Sample(tools.stream(formed) if formed is not None and streamed else None)
            for _ in range(request.sampling.n)
        ]
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._timing = Timing()

    def take(self, output: Any) -> Iterator[Delta]:
        """The text in an output of the engine (vLLM's `RequestOutput`)."""
        if output.prompt_token_ids is not None:
            self._prompt_tokens = len(output.prompt_token_ids)
        self._cached_tokens = max(self._cached_tokens, output.num_cached_tokens or 0)
        if output.metrics is not None:
            self._timing = _timing(output.metrics)
        for part in output.outputs:
            sample = self._samples[part.index]
            sample.reason = part.finish_reason or sample.reason
            sample.text.append(part.text)
            sample.token_ids += part.token_ids
            if part.logprobs is not None and self._request.sampling.logprobs is not None:
                most = self._request.sampling.logprobs
                sample.logprobs += (
                    _logprob(token, tops, most)
                    for token, tops in zip(part.token_ids, part.logprobs, strict=True)
                )
            if self._streamed:
                said = part.text if sample.stream is None else sample.stream.take(part.text, part.token_ids)
                sample.said.append(said)
                if said:
                    yield Delta(said, part.index)

    def rest(self) -> Iterator[Delta]:
        """Text that a stream held back because it might have been a call, and was none."""
        for number, sample in enumerate(self._samples):
            if sample.stream is not None:
                text, said = self._read(sample)[0], "".join(sample.said)
                if len(text) > len(said) and text.startswith(said):
                    sample.said.append(text[len(said) :])
                    yield Delta(text[len(said) :], number)

    def completion(self) -> Completion:
        """The whole answer. Raises `EngineDead` if a sample was not finished."""
        notes: list[str] = []
        choices = tuple(self._choice(sample, notes) for sample in self._samples)
        wanted = self._request.sampling.max_tokens
        if self._max_tokens < wanted and any(choice.finish_reason == "length" for choice in choices):
            notes.append(
                f"the context cut the answer: the prompt's {self._prompt_tokens:,} tokens left {self._max_tokens:,} of "
                f"the {wanted:,} that max_tokens allows"
            )
        generated = sum(len(sample.token_ids) for sample in self._samples)
        usage = Usage(self._prompt_tokens, generated, self._cached_tokens)
        return Completion(choices, usage, self._model, self._timing, notes=tuple(dict.fromkeys(notes)))

    def _choice(self, sample: _Sample, notes: list[str]) -> Choice:
        reason = _REASONS.get(sample.reason or "")
        if reason is None:
            raise EngineDead(f"the engine ended a sample without finishing it ({sample.reason})")
        text, calls, note = self._read(sample)
        if note:
            notes.append(note)
        if sample.stream is not None:
            text = "".join(sample.said)
        return Choice(
            text,
            calls,
            "tool_calls" if calls and reason == "stop" else reason,
            tuple(sample.token_ids) if self._request.token_ids else None,
            tuple(sample.logprobs) if self._request.sampling.logprobs is not None else None,
        )

    def _read(self, sample: _Sample) -> tuple[str, tuple[ToolCall, ...], str]:
        text = "".join(sample.text)
        return (
            (text, (), "")
            if self._formed is None
            else self._tools.read(self._formed, text, len(self._request.messages))
        )


def _logprob(token: int, tops: Any, most: int) -> TokenLogprob:
    """`tops`: id -> vLLM's Logprob, the sampled token among them."""
    own = tops[token]
    likeliest = sorted(tops.values(), key=lambda each: each.rank)[:most]
    return TokenLogprob(
        own.decoded_token or "",
        float(own.logprob),
        tuple((each.decoded_token or "", float(each.logprob)) for each in likeliest),
    )


def _timing(metrics: Any) -> Timing:
    """vLLM's `RequestStateStats`: what the engine measured. The total is the caller's to tell."""
    queue_s = metrics.scheduled_ts - metrics.queued_ts
    return Timing(
        first_token_s=metrics.first_token_latency or None,
        queue_s=queue_s if metrics.scheduled_ts and queue_s >= 0 else None,
    )
