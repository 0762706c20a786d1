"""Ray Serve's own app for language models on the same model, asked over HTTP as its users would: where it is installed.

`ray.serve.llm` pins another build of vLLM and needs packages that this project does not ask for, so it is none of its
dependencies. Beside `make vllm` it takes pyarrow, jsonref and a newer protobuf than ortools takes: in an environment of
its own.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from inference import BaseLLM, EndpointSettings
from inference.vllm_settings import VLLMSettings

_NAME = "bench"


def serve_fault() -> str:
    """Why it cannot be measured here; empty if it can. Imports it."""
    os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "0")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import_module("ray.serve.llm")
        import_module("openai")
    except Exception as error:  # of many kinds: what it needs is missing, or of another version
        return f"ray.serve.llm cannot be imported here ({type(error).__name__}: {error!s:.160})"
    # It turns all logs on, and the client's line for each request would count against it.
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return ""


@asynccontextmanager
async def ray_serve(model: str, settings: VLLMSettings) -> AsyncIterator[BaseLLM]:
    """The app, asked by the client of this project. Ray must run; its engine has the actor's arguments for a CPU."""
    serve, llm = import_module("ray.serve"), import_module("ray.serve.llm")
    from inference.openai_endpoint import OpenAICompatLLM  # noqa: PLC0415  # needs the extra `endpoints`

    config = llm.LLMConfig(
        model_loading_config={"model_id": _NAME, "model_source": model},
        accelerator_config={"kind": "cpu"},
        placement_group_config={"bundles": [{"CPU": 1}]},
        deployment_config={"num_replicas": 1, "max_ongoing_requests": 1_000},
        engine_kwargs={
            "max_model_len": settings.context_tokens,
            "max_num_seqs": settings.running_requests,
            "kv_cache_memory_bytes": settings.cache_bytes,
            "block_size": 32,
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "disable_log_stats": True,
        },
        runtime_env={
            "env_vars": {
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
                "VLLM_NO_USAGE_STATS": "1",
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                "OMP_NUM_THREADS": "1",
            }
        },
        log_engine_metrics=False,
    )
    port = _free_port()
    await asyncio.to_thread(serve.start, http_options={"host": "127.0.0.1", "port": port})
    try:
        app = llm.build_openai_app({"llm_configs": [config]})
        await asyncio.to_thread(serve.run, app)
        async with OpenAICompatLLM(
            f"http://127.0.0.1:{port}/v1", _NAME, settings=EndpointSettings(timeout_s=600)
        ) as asked:
            yield asked
    finally:
        await asyncio.to_thread(serve.shutdown)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
