"""PyTorch peer in a separate process, driven by lines of JSON over its standard input and output.

`Peer` is used by the benchmark; run as a module, this file is the other process.
"""

import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from svilm_jax.config import Config, resolve

ROOT = Path(__file__).parents[2]


class Peer:
    """The peer process.

    Attributes:
      reason: why there is no peer or no step; "" otherwise.
      description: versions and device of PyTorch.
      compile_seconds: compilation time of the latest step.
      peak_bytes: peak memory of the latest step.
    """

    def __init__(self) -> None:
        self.reason = self.description = ""
        self.compile_seconds = self.peak_bytes = 0.0
        # The peer reads the config through svilm_jax, whose JAX must not allocate memory of the device.
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "experiments.accelerator.peer"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def build(self, config: Config) -> None:
        """Starts building a step; `wait` returns the outcome."""
        self.reason = ""
        self._send({"build": dataclasses.asdict(config)})

    def wait(self, seconds: float) -> str:
        """Waits for the step; returns the reason if there is none, else ""."""
        answer = self._answer(seconds)
        self.reason = answer.get("error", "")
        if not self.reason:
            self.description = answer["description"]
            self.compile_seconds, self.peak_bytes = answer["compile_seconds"], answer["peak_bytes"]
        return self.reason

    def time(self, steps: int) -> float:
        """Runs steps back to back; returns the mean seconds per step.

        Raises:
          RuntimeError: the peer failed.
        """
        self._send({"time": steps})
        answer = self._answer(300.0)
        if "error" in answer:
            raise RuntimeError(f"PyTorch: {answer['error']}")
        return answer["seconds"]

    def release(self) -> None:
        """Releases the memory of the device."""
        self._send({"release": True})
        self._answer(60.0)

    def close(self) -> None:
        """Ends the process."""
        self._child.kill()
        self._child.wait()

    def _send(self, request: dict[str, Any]) -> None:
        try:
            assert self._child.stdin is not None
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        except OSError:
            self.reason = "the peer process has ended"

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            return self._answers.get(timeout=max(seconds, 1.0))
        except queue.Empty:
            return {"error": "no answer in time"}

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("{"):
                self._answers.put(json.loads(line))
        self._answers.put({"error": "the peer process has ended"})


class _Server:
    """Server in the other process: builds and times a PyTorch step on request."""

    def __init__(self) -> None:
        self.step: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Executes a request; returns the answer."""
        import torch

        cuda = torch.cuda.is_available()
        if "build" in request:
            self._free()
            return self._build(resolve(request["build"]), "cuda" if cuda else "cpu")
        if "time" in request:
            started = time.perf_counter()
            for _ in range(request["time"]):
                loss = self.step()
            loss.item()  # waits for the device
            return {"seconds": (time.perf_counter() - started) / request["time"]}
        self._free()
        return {}

    def _build(self, config: Config, device: str) -> dict[str, Any]:
        import torch

        from experiments.benchmarks.compiled_step import VOCAB_SIZE, random_batch
        from experiments.benchmarks.torch_peer import Peer as Model
        from experiments.benchmarks.torch_peer import make_train_step

        started = time.perf_counter()
        model = Model(config, VOCAB_SIZE)
        for parameter in model.parameters():
            if parameter.ndim < 2:
                continue
            torch.nn.init.trunc_normal_(parameter, std=0.02)
        self.step = make_train_step(model, config, random_batch(config), device, compiled=device == "cuda")
        self.step()
        loss = self.step().item()
        cuda = device == "cuda"
        return {
            "compile_seconds": time.perf_counter() - started,
            "peak_bytes": torch.cuda.max_memory_allocated() if cuda else 0,
            "description": f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if cuda else 'CPU'}, "
            f"{'torch.compile, bfloat16 autocast, fused SGD' if cuda else 'eager, float32'}; loss {loss:.4f}",
        }

    def _free(self) -> None:
        import gc

        import torch

        self.step = None
        torch._dynamo.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def serve() -> None:
    """Answers requests until the input ends."""
    server = _Server()
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except ImportError as error:
            answer = {"error": f"PyTorch is not installed ({error})"}
        except Exception:
            answer = {"error": traceback.format_exc()[-1500:]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
