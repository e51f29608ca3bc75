"""FLOPs of products: matrices, convolutions, attention, recurrent kernels."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .formulas import Args, of, option


@of("mm", "bmm")
def _product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[0].shape) * args[1].shape[-1]


@of("addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addbmm_", "_addmm_activation")
def _added_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[1].shape) * args[2].shape[-1]


@of("mv", "dot", "vdot")
def _vector_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[0].numel()


@of("addmv", "addmv_")
def _added_vector_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[1].numel()


@of("addr", "addr_")
def _outer(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[1].numel() * args[2].numel()


@of("_trilinear")
def _trilinear(out: Any, args: Args, kwargs: dict) -> float:
    """sum of a * b * c over the axes that are written in full: two products and an addition an entry of the whole."""
    shapes = []
    for tensor, expand in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for axis in sorted(expand):
            shape.insert(axis, 1)
        shapes.append(shape)
    return 3 * math.prod(max(sides) for sides in zip(*shapes, strict=True))


@of("_cdist_forward")
def _distances(out: Any, args: Args, kwargs: dict) -> float:
    return 3 * out.numel() * args[0].shape[-1]


def _convolved(x: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> float:
    positions = (x if transposed else out).shape[2:]
    return 2 * x.shape[0] * math.prod(positions) * weight.numel()


@of("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "_slow_conv2d_forward")
def _convolution(out: Any, args: Args, kwargs: dict) -> float:
    # _slow_conv2d_forward has something else there, and is never transposed
    return _convolved(args[0], args[1], out, option(args, kwargs, 6, "transposed", False) is True)


@of("convolution_backward")
def _convolution_backward(out: Any, args: Args, kwargs: dict) -> float:
    """The gradient of input and that of weight take as much as the forward, each if it is wanted."""
    gradient, x, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    return (bool(wanted[0]) + bool(wanted[1])) * _convolved(x, weight, gradient, transposed)


@of("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math")
def _attention(out: Any, args: Args, kwargs: dict) -> float:
    query, key, value = args[:3]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


@of("_scaled_dot_product_flash_attention_for_cpu_backward")
def _attention_backward(out: Any, args: Args, kwargs: dict) -> float:
    """Scores anew, then the gradients of values, weights, queries and keys (as torch counts it on a GPU)."""
    _, query, key, value = args[:4]
    scores = 2 * math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (3 * query.shape[-1] + 2 * value.shape[-1])


@of("_native_multi_head_attention")
def _native_attention(out: Any, args: Args, kwargs: dict) -> float:
    query, key, dim = args[0], args[1], args[3]
    batch, length, source = query.shape[0], query.shape[-2], key.shape[-2]
    return batch * (2 * dim * dim * (2 * length + 2 * source) + 4 * length * source * dim)


@of("mkldnn_rnn_layer")
def _recurrent(out: Any, args: Args, kwargs: dict) -> float:
    """Each of input and state times its weights, at each time: (time, batch, features), whichever comes first."""
    return 2 * math.prod(args[0].shape[:-1]) * (args[1].numel() + args[2].numel())


@of("mkldnn_rnn_layer_backward")
def _recurrent_backward(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * _recurrent(out, args, kwargs)


@of("_cudnn_rnn", "miopen_rnn")
def _cudnn_recurrent(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[0].shape[:-1]) * sum(w.numel() for w in args[1] if w.ndim > 1)


@of("_cudnn_rnn_backward", "miopen_rnn_backward")
def _cudnn_recurrent_backward(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * _cudnn_recurrent(out, args, kwargs)
