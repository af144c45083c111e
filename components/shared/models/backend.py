"""How TensorFlow is started: in silence, once, and so that the same seed gives the same result."""

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from components.shared import parallel

UNUSED = ("sklearn", "matplotlib.pyplot")  # what Keras loads where it is installed, and we use nothing of there
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # TensorFlow's switch for oneDNN, read once, when it is loaded


def start(seed: int | None = None, *, groups: int = 1):
    """Import TensorFlow and Keras, every operation deterministic; a seed sets all generators. Returns (tf, keras).

    `groups`: an operation is spread over that part of the processors, so that as many run side by side.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # What goes wrong is raised as well; what is only logged as an error is which kernel oneDNN does without.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Without AVX-512 TensorFlow leaves it off, though a training step then takes up to twice as long.
    if {"avx2", "fma"} <= _instructions():
        os.environ.setdefault(ONEDNN, "1")
    with _silent_stderr(), _quickly():
        import keras
        import tensorflow as tf
    tf.config.experimental.enable_op_determinism()
    threads = parallel.granted()
    if groups > 1 or threads < (os.cpu_count() or 1):
        # A quota, which TensorFlow does not see. Not what was merely asked for: sums depend on the number of threads, so that a
        # training would differ from the same one at home.
        with contextlib.suppress(RuntimeError):  # it runs already
            tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // groups))
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return tf, keras


def has_onednn() -> bool:
    """Whether TensorFlow, once it is loaded, computes by oneDNN: the same training then ends in other weights."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):  # private to TensorFlow, which says it nowhere else
        return os.environ.get(ONEDNN) == "1"


def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16, and oneDNN is there to use them: without, it is 20 times slower."""
    return has_onednn() and not _instructions().isdisjoint({"avx512_bf16", "amx_bf16"})


@functools.cache
def _instructions() -> frozenset[str]:
    """What the processor can do, as Linux names it; nothing elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.split())
    return frozenset()


@contextlib.contextmanager
def _quickly() -> Iterator[None]:
    """Load Keras in two thirds of the time: without UNUSED, and without looking for garbage among all its modules."""
    if "keras" in sys.modules:
        yield
        return
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # None: not to be found
    gc.disable()
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        gc.freeze()  # nor later, nor when the process ends, which would take a second
        gc.enable()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    # TensorFlow's C++ side greets before any setting can stop it. Python's own errors still come out.
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
