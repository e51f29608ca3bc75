"""A vector of lanes as a Numba type: one sample a lane, one register a row.

Numba's own loops over 16 numbers are vectorised only sometimes and then with checks for aliasing; an explicit LLVM
vector is always one register (AVX-512) or two (AVX2). Rows are `count` numbers of a flat array; nothing checks bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, register_model

intrinsic: Any = _intrinsic  # what it makes is called without the typing context

LANES = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}  # 64 bytes: a cache line, an AVX-512 register
_LLVM = {types.float32: (ir.FloatType, "f32", 16), types.float64: (ir.DoubleType, "f64", 8)}


class Lanes(types.Type):
    def __init__(self, scalar: Any):
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, _vector(fe_type.scalar))


def _vector(scalar: Any) -> ir.VectorType:
    kind, _, count = _LLVM[scalar]
    return ir.VectorType(kind(), count)


def _pointer(context: Any, builder: Any, array: Any, value: Any, row: Any, scalar: Any) -> Any:
    data = context.make_array(array)(context, builder, value).data
    first = builder.gep(data, [builder.mul(row, ir.Constant(row.type, _LLVM[scalar][2]))])
    return builder.bitcast(first, _vector(scalar).as_pointer())


@intrinsic
def load(typingctx: Any, array: Any, row: Any) -> Any:
    """Row `row` (intp) of a flat array, as lanes."""
    scalar = array.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(
            _pointer(context, builder, signature.args[0], args[0], args[1], scalar), align=scalar.bitwidth // 8
        )

    return Lanes(scalar)(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, row: Any, vector: Any) -> Any:
    """Write lanes to row `row` of a flat array."""
    scalar = array.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(
            args[2], _pointer(context, builder, signature.args[0], args[0], args[1], scalar), align=scalar.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, Lanes(scalar)), codegen


@intrinsic
def at(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index] as intp, for int32 tables, without a look at the sign of the index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.sext(builder.load(builder.gep(data, [args[1]])), context.get_value_type(types.intp))

    return types.intp(array, types.intp), codegen


@intrinsic
def spread(typingctx: Any, scalar: Any) -> Any:
    """One number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _vector(signature.args[0])
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)

    return Lanes(scalar)(scalar), codegen


def _fused(builder: Any, a: Any, b: Any, c: Any, scalar: Any) -> Any:
    kind = _vector(scalar)
    name = f"llvm.fma.v{_LLVM[scalar][2]}{_LLVM[scalar][1]}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fused(builder, args[0], args[1], args[2], signature.args[0].scalar)

    return a(a, a, a), codegen


@intrinsic
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """c - a * b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fused(builder, builder.fneg(args[0]), args[1], args[2], signature.args[0].scalar)

    return a(a, a, a), codegen


@intrinsic
def mul(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return a(a, a), codegen


@intrinsic
def add(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return a(a, a), codegen


@intrinsic
def sub(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fsub(*args)

    return a(a, a), codegen


@intrinsic
def total(typingctx: Any, a: Any) -> Any:
    """The sum over lanes, by halves: always the same order."""
    scalar = a.scalar

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, count = args[0], _LLVM[scalar][2]
        while count > 1:
            count //= 2
            parts = []
            for first in (0, count):
                mask = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
                parts.append(builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask))
            vector = builder.fadd(*parts)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return scalar(a), codegen
