"""What a model costs: time, memory and size. No two machines, and no two runs, measure the same."""

import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from components.shared.data import arrays
from components.shared.models import package as packages

IN_BATCHES = 2048  # samples of the test split
SINGLE = 300  # pictures, one after the other
DIFFERENT = 32  # of them


def cost(network, model: Path, package: Path, record: dict, test: arrays.Split) -> dict[str, float]:
    """Of Keras in this process, and of the package as it is served, in one of its own."""
    from components.shared.models import keras_file

    some = np.ascontiguousarray(test.images[:IN_BATCHES])
    keras_file.predict(network, some[:256])  # the first call compiles
    started = time.perf_counter()
    keras_file.predict(network, some, name="speed")
    seconds = time.perf_counter() - started
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        served = process.submit(of_package, package, test.folder).result()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "training_seconds": record["training_seconds"],
        "prediction_milliseconds": round(1000 * seconds / len(some), 4),  # a sample, in batches, by Keras
        "model_mebibytes": round((model / keras_file.FILE).stat().st_size / 2**20, 3),
        "parameters": record["parameters"],
        "evaluation_peak_mebibytes": round(peak, 1),
        **served,
    }


def of_package(package: Path, test: Path) -> dict[str, float]:
    """The package on one thread. `memory_mebibytes`: all that this process holds once it has answered single pictures, which is
    Python, ONNX Runtime and the network, without a server. `cpu_seconds_a_thousand` stands for energy."""
    import psutil

    from components.shared.models.recogniser import Recogniser

    recogniser = Recogniser(packages.read(package), threads=1)
    images = arrays.load(test).images
    few = np.array(images[:DIFFERENT])
    recogniser.answers(few)  # the first call allocates
    waits = []
    for turn in range(SINGLE):
        started = time.perf_counter()
        recogniser.answers(few[turn % len(few)][None])
        waits.append(1000 * (time.perf_counter() - started))
    memory = psutil.Process().memory_info().rss
    some = images[:IN_BATCHES]
    started, busy = time.perf_counter(), time.process_time()
    recogniser.answers(some)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "onnx_milliseconds_p50": round(float(np.quantile(waits, 0.5)), 4),
        "onnx_milliseconds_p99": round(float(np.quantile(waits, 0.99)), 4),
        "onnx_samples_a_second": round(len(some) / seconds, 1),
        "cpu_seconds_a_thousand": round(1000 * busy / len(some), 4),
        "memory_mebibytes": round(memory / 2**20, 1),
        "onnx_mebibytes": round((package / packages.MODEL).stat().st_size / 2**20, 3),
    }
