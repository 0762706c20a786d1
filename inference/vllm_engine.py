"""A model in this process: vLLM's `AsyncLLM` behind `BaseLLM`, on a CPU or a GPU. No Ray in it.

Rules:
* The engine's core is a process of its own. It starts with the first request, or with `start`, in a thread: the event
  loop stays free. Whoever asks meanwhile waits, within the request's deadline.
* An engine that dies fails what it had (`EngineDead`, indefinite) and is started again; what it did not have yet waits
  for that and is then asked: it is definite. After `restarts` deaths within `restart_window_s` the replica is dead.
* A caller that goes away, a deadline and a closed stream free the sequence at once.
* Nothing that a caller writes may kill the engine: what vLLM would take to its core unchecked (an adapter that is not
  there, a prompt that is too long) is checked here.

The design of the engine: W. Kwon et al., "Efficient Memory Management for Large Language Model Serving with
PagedAttention", SOSP 2023.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from inference.completion import Completion, Delta
from inference.deadline import Deadline
from inference.errors import (
    BadRequest,
    ConfigurationError,
    EngineDead,
    LLMError,
    QueueFull,
)
from inference.extra import optional
from inference.llm import BaseLLM, TokenCount
from inference.request import Request
from inference.vllm_adapter import AdapterLLM
from inference.vllm_answer import AnswerAssembly
from inference.vllm_arguments import Platform, check_memory, engine_arguments, set_environment
from inference.vllm_metrics import Health, Metrics, Recorder, State
from inference.vllm_model import find_adapter, find_model
from inference.vllm_prompt import PromptRenderer, checked_ids
from inference.vllm_sampling import check_form, room_for, sampling_parameters
from inference.vllm_settings import VLLMSettings
from inference.vllm_tools import ToolFormat


class _Engine:
    """One life of the engine, and what belongs to its tokenizer."""

    def __init__(self, llm: Any, settings: VLLMSettings) -> None:
        tokenizer = llm.get_tokenizer()
        template = settings.chat_template or tokenizer.chat_template
        if not isinstance(template, str):
            raise ConfigurationError("the model has no chat template: set chat_template")
        self.llm = llm
        self.context_tokens: int = llm.model_config.max_model_len
        self.renderer = PromptRenderer(tokenizer, settings.chat_template, settings.prompt_cache_tokens)
        self.tools = ToolFormat(tokenizer, settings.tool_parser, template)
        self.loras: dict[str, Any] = {}


class VLLMEngine(BaseLLM):
    """A model that vLLM computes. One object serves one event loop."""

    def __init__(self, model: str, settings: VLLMSettings | None = None) -> None:
        """A model's folder, or its name on the Hub. Its files are looked at here; nothing is imported or started.

        Raises `ConfigurationError` for a model or an adapter that is not there.
        """
        self._settings = settings or VLLMSettings()
        self._files = find_model(model, revision=self._settings.revision, offline=self._settings.offline)
        self._adapters = {
            name: find_adapter(name, folder, self._settings.adapter_rank)
            for name, folder in self._settings.adapters.items()
        }
        self._platform: Platform | None = None
        self._engine: _Engine | None = None
        self._starting: asyncio.Task[_Engine] | None = None
        self._deaths: deque[float] = deque()
        self._restarts = 0
        self._fault = ""
        self._closed = False
        self._draining = False
        self._numbers = itertools.count()
        self._metrics = Metrics()
        self._recorder = Recorder(self._metrics)
        self._broken: LLMError | None = None
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def identity(self) -> str:
        """`vllm:NAME@REVISION`, with what else decides an answer."""
        settings = self._settings
        template = settings.chat_template
        marks = [
            settings.quantization or "",
            "" if settings.dtype == "auto" else settings.dtype,
            "" if template is None else f"template-{blake2b(template.encode(), digest_size=4).hexdigest()}",
        ]
        return "/".join(filter(None, [f"vllm:{self._files.name}@{self._files.revision}", *marks]))

    # --- Asking -------------------------------------------------------------------------------------------------

    async def complete(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> Completion:
        """The answer. `prompt_ids`: the prompt as `render` gave it, in place of the messages. `adapter`: a LoRA."""
        completion = None
        async with aclosing(self._answer(request, prompt_ids, adapter, streamed=False)) as answer:
            async for delta in answer:
                completion = delta.completion or completion
        assert completion is not None, "an answer ends with its completion"
        return completion

    async def stream(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> AsyncGenerator[Delta, None]:
        """The answer in pieces, several tokens each when the engine is busy."""
        async with aclosing(self._answer(request, prompt_ids, adapter, streamed=True)) as answer:
            async for delta in answer:
                yield delta

    async def render(self, request: Request) -> list[int]:
        """The prompt as the model reads it."""
        return list((await self._serving()).renderer.render(request))

    async def count_tokens(self, request: Request) -> TokenCount:
        """The length of the prompt, exact."""
        return TokenCount(len((await self._serving()).renderer.render(request)), exact=True)

    def adapter(self, name: str) -> AdapterLLM:
        """The model with a LoRA adapter. Raises `BadRequest` for one that is not there."""
        self._check_adapter(name)
        return AdapterLLM(self, name, self._adapters[name])

    async def _answer(
        self, request: Request, prompt_ids: Sequence[int] | None, adapter: str, *, streamed: bool
    ) -> AsyncGenerator[Delta, None]:
        call = Deadline(self._settings.timeout_s if request.timeout_s is None else request.timeout_s)
        check_form(request)
        self._check_adapter(adapter)
        if self._draining:
            raise EngineDead(f"{self.identity} is draining: ask another replica", definite=True)
        self._unfinished += 1
        self._idle.clear()
        try:
            engine = await call.within(self._serving())
            ids = engine.renderer.render(request) if prompt_ids is None else checked_ids(prompt_ids)
            max_tokens = room_for(request, len(ids), engine.context_tokens)
            formed = engine.tools.form(request)
            assembly = AnswerAssembly(
                request, self._files.name, max_tokens, engine.tools, formed, streamed=streamed
            )
            params = sampling_parameters(
                request,
                max_tokens=max_tokens,
                streamed=streamed,
                structural_tag=None if formed is None else formed.tag,
            )
            first_s = None
            async with aclosing(self._outputs(call, ids, params, adapter)) as outputs:
                async for output in outputs:
                    first_s = call.passed_s if first_s is None else first_s
                    for delta in assembly.take(output):
                        yield delta
            for delta in assembly.rest():
                yield delta
            completion = assembly.completion()
            timing = replace(completion.timing, total_s=call.passed_s)
            if streamed:
                timing = replace(timing, first_token_s=first_s)
            yield Delta(completion=replace(completion, timing=timing))
        finally:
            self._unfinished -= 1
            if not self._unfinished:
                self._idle.set()

    async def _outputs(
        self, call: Deadline, ids: Sequence[int], params: Any, adapter: str
    ) -> AsyncGenerator[Any, None]:
        """What the engine gives for a prompt. What it never had is asked again after a restart."""
        for _attempt in range(self._settings.restarts + 1):
            engine = await call.within(self._serving())
            if engine.llm.errored:
                continue  # it died this moment, and has not seen the request
            prompt: dict[str, Any] = {"prompt_token_ids": list(ids)}
            if params.structured_outputs is None:
                prompt["type"] = "token"  # as rendered: taken at once. A form is first checked, in a thread.
            generator = engine.llm.generate(
                prompt,
                params,
                f"r{next(self._numbers)}",
                lora_request=engine.loras[adapter] if adapter else None,
            )
            call.sent = True
            try:
                async with aclosing(generator):
                    while (output := await call.within(anext(generator, None))) is not None:
                        yield output
                return
            except Exception as error:
                raise self._converted(error, engine) from error
        raise self._dead()

    def _converted(self, error: Exception, engine: _Engine) -> LLMError:
        """An error of vLLM's as one of ours."""
        if isinstance(error, LLMError):
            return error
        known = optional("vllm.exceptions", "vllm", "a model in this process")
        if isinstance(error, known.VLLMClientError):
            return BadRequest(f"vLLM does not take the request: {error!s:.500}")
        if isinstance(error, known.GracefulHTTPError):
            return QueueFull(
                f"{self._unfinished:,} requests are unfinished, and {self._settings.unfinished_requests:,} may be: ask "
                f"again when some have been answered, or raise unfinished_requests"
            )
        cause = error.__cause__ or error
        if engine.llm.errored:
            self._revive()
            return EngineDead(
                f"the engine of {self.identity} died while it had the request; it is started again"
            )
        return EngineDead(f"the engine failed on the request: {type(cause).__name__}: {cause!s:.300}")

    def _check_adapter(self, adapter: str) -> None:
        if adapter and adapter not in self._adapters:
            there = ", ".join(self._adapters) or "none: name them in adapters"
            raise BadRequest(f"there is no LoRA adapter {adapter!r}: there are {there}")

    # --- Life ---------------------------------------------------------------------------------------------------

    async def start(self) -> dict[str, Any]:
        """Waits until the engine serves. What it is, as `describe` says. Raises `ConfigurationError`."""
        await self._serving()
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """What a manifest needs to name a completion's origin. Plain values; the engine must have started."""
        engine, platform = self._engine, self._platform
        if engine is None or platform is None:
            raise ConfigurationError(f"{self.identity} has not started: await start() first")
        files = self._files
        return {
            "identity": self.identity,
            "model": files.name,
            "revision": files.revision,
            "revision_is_of": "samples of the large files" if files.sampled else "all bytes",
            "tokenizer": files.tokenizer,
            "adapters": dict(self._adapters),
            "architecture": files.config.get("architectures"),
            "vllm": platform.version,
            "torch": str(optional("torch", "vllm", "a model in this process").__version__),
            "device": platform.device,
            "context_tokens": engine.context_tokens,
            "tool_parser": engine.tools.name,
            "batch_invariant": platform.batch_invariant,
            "determinism": platform.determinism(self._settings),
            "settings": self._settings.plain(),
        }

    def health(self) -> Health:
        """How it is. An engine that is found dead is started again."""
        engine = self._engine
        alive = engine is not None and not engine.llm.errored
        if self._broken is not None or self._closed:
            return Health("dead", 0, self._restarts, self._fault)
        if engine is not None and not alive:
            self._revive()
        unfinished = engine.llm.get_num_unfinished_requests() if engine is not None and alive else 0
        state: State = "draining" if self._draining else "serving" if alive else "starting"
        return Health(state, unfinished, self._restarts, "" if alive else self._fault)

    @property
    def process(self) -> int:
        """The process of the engine's core. Raises `EngineDead` while there is none."""
        if self._engine is None:
            raise EngineDead(f"{self.identity} is starting", definite=True)
        (core,) = self._engine.llm.engine_core.resources.engine_manager.processes
        return int(core.pid)

    @property
    def load(self) -> int:
        """Requests under way, waiting for a start included."""
        return self._unfinished

    def metrics(self) -> Metrics:
        """Counts since the object was made."""
        return replace(self._metrics)

    async def drain(self, timeout_s: float) -> bool:
        """Takes no more, and waits until what it has is answered. False if that took longer."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Ends the engine and what it computes."""
        self._closed = True
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        engine, self._engine = self._engine, None
        if engine is not None:
            await _end(engine.llm)

    async def _serving(self) -> _Engine:
        """The engine, started if need be."""
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise EngineDead(f"{self.identity} was closed", definite=True)
        engine = self._engine
        if engine is not None and not engine.llm.errored:
            return engine
        return await asyncio.shield(self._revive())

    def _revive(self) -> "asyncio.Task[_Engine]":
        """Starts the engine, unless that is under way."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(_look_at)
        return self._starting

    async def _start(self) -> _Engine:
        while not self._closed:
            dead, self._engine = self._engine, None
            if dead is not None:
                await _end(dead.llm)
                self._count_death("its process ended")
            try:
                self._engine = await self._started()
                return self._engine
            except LLMError as error:
                if not self._restarts:  # it never served: what it is told is wrong, and stays so
                    self._fault, self._broken = str(error), error
                    raise
                self._count_death(str(error))
        raise EngineDead(f"{self.identity} was closed", definite=True)

    async def _started(self) -> _Engine:
        llm = await asyncio.to_thread(self._load)
        engine = _Engine(llm, self._settings)
        requests = optional("vllm.lora.request", "vllm", "LoRA adapters")
        for number, (name, folder) in enumerate(self._settings.adapters.items(), start=1):
            lora = requests.LoRARequest(name, number, str(folder))
            try:
                await llm.add_lora(lora)
            except Exception as error:  # vLLM raises a plain one
                await _end(llm)
                raise ConfigurationError(f"the adapter {name} cannot be loaded: {error!s:.300}") from None
            engine.loras[name] = lora
        return engine

    def _load(self) -> Any:
        """In a thread: imports vLLM and starts the engine's process. Raises `ConfigurationError`."""
        settings = self._settings
        set_environment(settings)
        self._platform = self._platform or Platform(settings)
        arguments = engine_arguments(self._files, settings, self._platform)
        asynchronous = optional("vllm.v1.engine.async_llm", "vllm", "a model in this process").AsyncLLM
        try:
            config = arguments.create_engine_config()
        except Exception as error:  # ValueError, pydantic's, vLLM's own, by the argument
            raise ConfigurationError(f"vLLM does not take the settings: {error!s:.600}") from None
        check_memory(config, self._platform)
        try:
            llm = asynchronous.from_vllm_config(
                config, stat_loggers=[lambda *_of: self._recorder], disable_log_stats=True
            )
        except Exception as error:  # RuntimeError of its process, mostly; the cause is in the log
            raise ConfigurationError(
                f"the engine of {self.identity} did not start ({type(error).__name__}: {error!s:.300}): its log above "
                f"tells why, often too little memory: set cache_bytes, gpu_memory or context_tokens"
            ) from None
        # vLLM adds a logger for Prometheus beside ours, which is dear and has no reader here.
        llm.logger_manager.stat_loggers = [
            each for each in llm.logger_manager.stat_loggers if "Prometheus" not in type(each).__name__
        ]
        # Its statistics look up an environment variable for each token.
        optional("vllm.envs", "vllm", "a model in this process").enable_envs_cache()
        return llm

    def _count_death(self, fault: str) -> None:
        """Raises, and remembers, when it died too often."""
        now_s = asyncio.get_running_loop().time()
        self._fault = fault
        self._deaths.append(now_s)
        while self._deaths[0] < now_s - self._settings.restart_window_s:
            self._deaths.popleft()
        if len(self._deaths) > self._settings.restarts:
            self._broken = self._dead()
            raise self._broken
        self._restarts += 1

    def _dead(self) -> EngineDead:
        return EngineDead(
            f"the engine of {self.identity} died {len(self._deaths)} times within "
            f"{self._settings.restart_window_s:g} s and is not started again (last: {self._fault})",
            definite=True,
        )


async def _end(llm: Any) -> None:
    """Shuts vLLM down, and closes the context of its sockets, which it leaves to the collector, two threads with it."""
    await asyncio.to_thread(llm.shutdown)
    await asyncio.sleep(0)  # its sockets are closed in this loop
    client = llm.engine_core
    if all(socket.closed for socket in client.ctx._sockets):  # else it would wait for them
        client.resources.ctx.term()


def _look_at(task: "asyncio.Task[_Engine]") -> None:
    """A failure that nobody waits for is no warning: `health` tells it."""
    if not task.cancelled():
        task.exception()
