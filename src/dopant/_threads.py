"""Chunks of a batch over threads, one intra-op thread each, with the same bits for any number of threads.

Batched eigendecompositions with two intra-op threads take 7 to 10 times the CPU time of one, and what several threads
add up depends on their number. Here chunks have a size that depends on shapes alone, each is worked on by one thread,
and results come back in order.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils import _python_dispatch

from ._precision import no_autocast

T = TypeVar("T")
R = TypeVar("R")


def over_chunks(function: Callable[[T], R], chunks: Iterable[T], device: torch.device) -> list[R]:
    """[function(chunk) for chunk in chunks] without gradient, on torch.get_num_threads() threads if on the CPU.

    Autocast is off in it, as in any thread of the workers. What a worker raises is raised here. Where something watches
    the operations of this thread (a count of FLOPs, a trace), they stay in it: one after the other, still with one
    intra-op thread each.
    """
    chunks = list(chunks)
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        with torch.no_grad(), no_autocast(device):
            return [function(chunk) for chunk in chunks]
    if _python_dispatch._get_current_dispatch_mode() is not None:
        with no_autocast(device):
            return _here(function, chunks)
    inference = torch.is_inference_mode_enabled()

    def work(chunk: T) -> R:
        with torch.inference_mode(inference), torch.no_grad():
            return function(chunk)

    return list(_pool(threads, os.getpid()).map(work, chunks))


def _here(function: Callable[[T], R], chunks: list[T]) -> list[R]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return [function(chunk) for chunk in chunks]
    finally:
        torch.set_num_threads(threads)


@functools.lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Workers with one intra-op thread each; those of another process (a fork's parent) would never answer."""
    ours = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "dopant-chunks", _one_thread)
    # setting the number in a worker also sets it for threads to come: all workers start now, then ours is set again
    barrier = threading.Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(barrier.wait)
    barrier.wait()
    torch.set_num_threads(ours)
    return pool


def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes over the number of all threads at its first look: let it look now
