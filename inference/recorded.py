"""A model whose answers are kept in a recording: recorded, replayed, or filled in where they are missing.

Rules:
* `record` asks the model each time and keeps its answer. `replay` never asks: it holds no model and opens no socket,
  and what was not recorded raises `RecordingMiss`, which tells the difference from the nearest recorded request.
  `fill` replays what is there and asks for the rest.
* The k-th time a request is asked it has the k-th answer that was recorded for it: so a run that samples the same
  question often replays the same samples. A deterministic request (greedy or seeded) asked once more than it was
  recorded has its last answer again.
* Errors that belong to the request (context too long, refused, bad request) are recorded too. Those of the moment (rate
  limits, dead engines, deadlines) are not: a replay has none.
* A completion comes out of a replay exactly as it went in, its times and its cost included.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal

from inference.completion import Completion, Delta
from inference.errors import ERRORS, ConfigurationError, LLMError, RecordingMiss
from inference.llm import BaseLLM, TokenCount
from inference.recording import Recording
from inference.request import Request, request_hash

Mode = Literal["record", "replay", "fill"]


class RecordedLLM(BaseLLM):
    """A model behind a recording. Make it with `record`, `replay` or `fill`."""

    def __init__(self, path: Path, mode: Mode, model: BaseLLM | None = None, identity: str = "") -> None:
        if (model is None) != (mode == "replay"):
            raise ConfigurationError(f"mode {mode} takes {'no model' if model else 'the model to ask'}")
        self._mode = mode
        self._model = model
        self._recording = Recording(path, writable=mode != "replay")
        self._identity = model.identity if model else identity or self._only_model()
        self._asked: dict[str, int] = {}
        """How often each request was asked (replay, fill) or answered (record) by this object."""

    @classmethod
    def record(cls, path: Path, model: BaseLLM) -> "RecordedLLM":
        """Asks the model, and keeps every answer. Answers that the file has already are superseded one by one."""
        return cls(path, "record", model)

    @classmethod
    def replay(cls, path: Path, identity: str = "") -> "RecordedLLM":
        """Answers from the file alone. `identity` says of which model, where the file holds several."""
        return cls(path, "replay", identity=identity)

    @classmethod
    def fill(cls, path: Path, model: BaseLLM) -> "RecordedLLM":
        """Answers from the file, and asks the model only for what is missing there."""
        return cls(path, "fill", model)

    @property
    def identity(self) -> str:
        """The recorded model's own: who asks cannot tell a replay from the model."""
        return self._identity

    @property
    def torn_bytes(self) -> int:
        """Length of a torn last line of the file that was left out; 0 as a rule."""
        return self._recording.torn_bytes

    async def complete(self, request: Request) -> Completion:
        """The recorded answer, or the model's."""
        key = request_hash(request, self._identity)
        kept = self._kept(key, request)
        if kept is not None:
            return self._recording.outcome(key, kept)
        model = self._asking(key, request)
        try:
            completion = await model.complete(request)
        except LLMError as error:
            self._keep_error(key, request, error)
            raise
        self._keep(key, request, completion)
        return completion

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The recorded answer in one piece, or the model's own stream."""
        key = request_hash(request, self._identity)
        kept = self._kept(key, request)
        if kept is not None:
            completion = self._recording.outcome(key, kept)
            for number, choice in enumerate(completion.choices):
                if choice.text:
                    yield Delta(choice.text, number)
            yield Delta(completion=completion)
            return
        stream = self._asking(key, request).stream(request)
        try:
            async for delta in stream:
                if delta.completion is not None:
                    self._keep(key, request, delta.completion)
                yield delta
        except LLMError as error:
            self._keep_error(key, request, error)
            raise
        finally:
            await stream.aclose()

    async def count_tokens(self, request: Request) -> TokenCount:
        """The model's count; in a replay the estimate of the simple tokenizer."""
        return await (self._model.count_tokens(request) if self._model else super().count_tokens(request))

    def describe(self) -> dict[str, Any]:
        """The model's own; in a replay its identity, and that it is one."""
        return self._model.describe() if self._model else {**super().describe(), "replayed": True}

    async def aclose(self) -> None:
        """Closes the file, and the model."""
        self._recording.close()
        if self._model is not None:
            await self._model.aclose()

    def _kept(self, key: str, request: Request) -> int | None:
        """Which recorded answer to give; None if the model is to be asked."""
        if self._mode == "record":
            return None
        asked = self._asked.get(key, 0)
        self._asked[key] = asked + 1
        recorded = self._recording.count(key)
        if asked < recorded:
            return asked
        return recorded - 1 if recorded and request.deterministic else None

    def _asking(self, key: str, request: Request) -> BaseLLM:
        if self._model is not None:
            return self._model
        recorded = self._recording.count(key)
        if recorded:
            why = (
                f"The request was recorded {recorded} times and is asked once more: give it a seed, or "
                f"record as many answers as are asked for."
            )
        else:
            why = self._recording.nearest(self._identity, request.content())
        raise RecordingMiss(
            f"{self._recording.path} has no answer of {self._identity} to this request ({key}). {why} "
            f"Fill the recording with the model at hand, or mend what is asked."
        )

    def _keep(self, key: str, request: Request, outcome: Completion | LLMError) -> None:
        if self._mode == "record":
            occurrence = self._asked.get(key, 0)
            self._asked[key] = occurrence + 1
        else:
            occurrence = self._recording.count(key)
        self._recording.append(self._identity, request.content(), occurrence, outcome)

    def _keep_error(self, key: str, request: Request, error: LLMError) -> None:
        if error.reason in ERRORS:
            self._keep(key, request, error)

    def _only_model(self) -> str:
        models = self._recording.models
        if len(models) == 1:
            return models[0]
        told = "no model" if not models else f"{len(models)} models: {', '.join(models)}"
        self._recording.close()
        raise ConfigurationError(
            f"{self._recording.path} holds answers of {told}. "
            + ("Say which, as in replay:PATH#MODEL." if models else "Record some first.")
        )
