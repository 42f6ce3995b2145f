"""What llama.cpp is told when a model is opened: where it lies, how long and wide it may become."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import llama_cpp as C

from evokd.cpus import usable_cores
from evokd.errors import TeacherError
from evokd.settings import TeacherSettings
from evokd.teacher.complaints import LOG
from evokd.teacher.interrupts import held_back

BATCH = 512  # tokens that go through the model at once, fewer where the context is smaller
ALL_LAYERS = 0x7FFFFFFF  # -1 means that to newer builds only
FLASH_AUTO, FLASH_OFF = -1, 0
FLOAT16, BFLOAT16 = 1, 30  # of ggml_type
FLASH_FROM = 8192  # tokens of context from which plain attention takes too much memory
FEWEST = 3  # sequences: a prompt's beginning, a prompt, and a choice


def load(path: Path, settings: TeacherSettings) -> Any:
    """Return llama.cpp's model; raises `TeacherError` with its complaint where it refuses.

    Ctrl-C ends it at the next tensor.
    """
    C.llama_backend_init()
    params = C.llama_model_default_params()
    params.n_gpu_layers = ALL_LAYERS if settings.gpu_layers == "auto" else settings.gpu_layers
    with held_back() as interrupted:
        goes_on = C.llama_progress_callback(lambda *_: not interrupted.so)
        params.progress_callback = goes_on
        model = C.llama_model_load_from_file(os.fsencode(path), params)
        if model and interrupted.so:
            C.llama_model_free(model)
    if not model:
        why = LOG.complaint or "llama.cpp gives no reason"
        hint = "it may need a newer llama-cpp-python, or more memory"
        if _offloads(settings):
            hint += ", or fewer teacher.gpu_layers"
        raise TeacherError(f"{path} cannot be loaded: {why}", hint)
    if not C.llama_model_has_decoder(model):
        C.llama_model_free(model)
        raise TeacherError(f"{path} is not a model that writes", "use a GGUF of a chat model")
    return model


def make_context(model: Any, path: Path, settings: TeacherSettings) -> Any:
    """Return a context of the model; raises `TeacherError` where none can be made."""
    params = C.llama_context_default_params()
    params.n_ctx = settings.context
    params.n_batch = params.n_ubatch = BATCH
    params.n_seq_max = _sequences(model, settings)
    params.n_threads = params.n_threads_batch = settings.threads or usable_cores()
    params.flash_attn_type = _flash(settings)
    params.type_k = params.type_v = cells(settings)
    params.kv_unified = True
    params.no_perf = True
    with held_back() as interrupted:
        context = C.llama_init_from_model(model, params)
        if context and interrupted.so:
            C.llama_free(context)
    if not context:
        why = LOG.complaint or "llama.cpp gives no reason"
        message = f"{path}: no context of {settings.context} tokens can be made: {why}"
        raise TeacherError(message, "lower teacher.context, or use a smaller model")
    return context


def _flash(settings: TeacherSettings) -> int:
    """On a CPU, flash attention takes each row by itself; plain attention multiplies matrices.

    With 16 rows behind a shared prompt, the embedded teacher's step takes two thirds of the time;
    a model of 0.4 B gains a few percent.
    """
    return FLASH_AUTO if _offloads(settings) or settings.context > FLASH_FROM else FLASH_OFF


def cells(settings: TeacherSettings) -> int:
    """Return the type of the memory's numbers: bfloat16 where the processor multiplies it itself.

    Attention is then faster: with 32 rows behind a shared prompt a step takes 6-10 % less time.
    Flash attention has no such gain.
    """
    native = b"AVX512_BF16 = 1" in C.llama_print_system_info()
    return BFLOAT16 if native and _flash(settings) == FLASH_OFF else FLOAT16


def _offloads(settings: TeacherSettings) -> bool:
    return settings.gpu_layers != 0 and bool(C.llama_supports_gpu_offload())


def _sequences(model: Any, settings: TeacherSettings) -> int:
    """Scoring profits from as many as there can be; a recurrent model pays memory for each.

    More than a batch has tokens would abort the process.
    """
    most = min(int(C.llama_max_parallel_sequences()), BATCH, settings.context)
    if C.llama_model_is_recurrent(model) or C.llama_model_is_hybrid(model):
        return min(max(settings.side_by_side + 1, FEWEST), most)
    return most
