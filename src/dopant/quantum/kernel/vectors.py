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
def apart(typingctx: Any, array: Any, first: Any, step: Any) -> Any:
    """Lanes of the numbers at first, first + step, … of an array without gaps, however many axes it has."""
    scalar = array.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        found = ir.Constant(_vector(scalar), ir.Undefined)
        for i in range(_LLVM[scalar][2]):
            # by inserts: numbers written one by one and read as lanes would wait for the last write
            found = builder.insert_element(found, builder.load(place), ir.Constant(ir.IntType(32), i))
            place = builder.gep(place, [args[2]])
        return found

    return Lanes(scalar)(array, types.intp, types.intp), codegen


@intrinsic
def put(typingctx: Any, array: Any, index: Any, number: Any) -> Any:
    """Write a number to an array without gaps, however many axes it has, without a look at the sign of the index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        builder.store(args[2], builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


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
def divide(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fdiv(*args)

    return a(a, a), codegen


def _of_one(builder: Any, name: str, *args: Any) -> Any:
    """LLVM's function of that name on vectors of one kind."""
    kind = args[0].type
    suffix = f"v{kind.count}{'f32' if isinstance(kind.element, ir.FloatType) else 'f64'}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(args)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


@intrinsic
def rounded(typingctx: Any, a: Any) -> Any:
    """To the nearest whole numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _of_one(builder, "rint", args[0])

    return a(a), codegen


@intrinsic
def away(typingctx: Any, a: Any, least: Any) -> Any:
    """a, with `least` and its own sign where it is closer to zero; NaN stays."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        small = builder.fcmp_ordered("<", _of_one(builder, "fabs", args[0]), args[1])
        return builder.select(small, _of_one(builder, "copysign", args[1], args[0]), args[0])

    return a(a, a), codegen


@intrinsic
def widen(typingctx: Any, array: Any, part: Any) -> Any:
    """Numbers 8 * part … of a flat array as lanes of double precision."""
    scalar, wide = array.dtype, Lanes(types.float64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        first = builder.gep(data, [builder.mul(args[1], ir.Constant(args[1].type, 8))])
        narrow = ir.VectorType(_LLVM[scalar][0](), 8)
        found = builder.load(builder.bitcast(first, narrow.as_pointer()), align=scalar.bitwidth // 8)
        return found if scalar == types.float64 else builder.fpext(found, _vector(types.float64))

    return wide(array, types.intp), codegen


@intrinsic
def narrow(typingctx: Any, wide: Any, array: Any, row: Any) -> Any:
    """Write a row's worth of numbers of double precision, from the first of `wide` on, to row `row` of `array`."""
    scalar = array.dtype
    count = _LLVM[scalar][2]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind = ir.VectorType(ir.DoubleType(), count)
        found = builder.load(builder.bitcast(data, kind.as_pointer()), align=8)
        if scalar != types.float64:
            found = builder.fptrunc(found, _vector(scalar))
        builder.store(
            found, _pointer(context, builder, signature.args[1], args[1], args[2], scalar), align=scalar.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.void(wide, array, types.intp), codegen


@intrinsic
def pointer(typingctx: Any, address: Any, number: Any) -> Any:
    """An address as that of numbers of the type of `number` (a number, or a type of NumPy)."""
    kind = number.instance_type if isinstance(number, types.NumberClass) else number

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(kind)(types.intp, number), codegen


@intrinsic
def width(typingctx: Any, number: Any) -> Any:
    """How many lanes numbers of this type have."""
    count = _LLVM[number][2]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(types.intp), count)

    return types.intp(number), codegen


@intrinsic
def totals(typingctx: Any, array: Any) -> Any:
    """Lane i: the sum over the lanes of row i, for as many rows as there are lanes. Always in the same order."""
    scalar = array.dtype
    count = _LLVM[scalar][2]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = [ir.Constant(context.get_value_type(types.intp), i) for i in range(count)]
        vectors = [
            builder.load(
                _pointer(context, builder, signature.args[0], args[0], row, scalar), align=scalar.bitwidth // 8
            )
            for row in rows
        ]
        # two rows become one of the sums of neighbours, until one is left: two shuffles and a sum a row
        masks = [
            ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, 2 * count, 2))) for first in (0, 1)
        ]
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [builder.fadd(*(builder.shuffle_vector(a, b, mask) for mask in masks)) for a, b in pairs]
        return vectors[0]

    return Lanes(scalar)(array), codegen


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
