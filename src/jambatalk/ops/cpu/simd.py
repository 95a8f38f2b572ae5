"""A vector of LANES floats as a value in numba kernels: always the processor's widest registers.

numba alone leaves it to LLVM's loop vectorizer to find vectors, which it guards with overlap tests
in the innermost loop and gives up on for unlucky lengths. Here ``load`` gives a vector, ``+ - * /``
and the functions below work on it, ``store`` writes it back; LLVM turns each into one instruction
or, on processors with narrower registers, into a few. Offsets count floats. Kernels get addresses
(``Tensor.data_ptr()``) and turn them into pointers by ``floats``, which costs nothing per call.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

LANES = 16  # floats; 64 bytes: a cache line, and the widest register of today's processors

_SCALAR = ir.FloatType()
_VECTOR = ir.VectorType(_SCALAR, LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_BYTE_POINTER = ir.IntType(8).as_pointer()


class LanesType(types.Type):
    """numba's name for the vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


lanes = LanesType()
pointer = types.CPointer(types.float32)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _splat(builder: Any, scalar: Any, kind: Any = _VECTOR) -> Any:
    """The same scalar in every lane."""
    first = builder.insert_element(
        ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(first, first, ir.Constant(_INTS, [0] * LANES))


def _as_vector(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return (
        value
        if isinstance(kind, LanesType)
        else _splat(builder, context.cast(builder, value, kind, types.float32))
    )


def _called(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call of an LLVM intrinsic function."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _arithmetic(symbol: Any, instruction: str) -> None:
    """``symbol`` between two vectors, or a vector and a number."""

    @type_callable(symbol)
    def typing(context: Any) -> Any:
        def result(a: Any, b: Any) -> Any:
            kinds = {isinstance(x, LanesType) for x in (a, b)}
            return (
                lanes
                if kinds == {True} or (True in kinds and {*_others(a, b)} <= types.number_domain)
                else None
            )

        return result

    for left, right in (
        (LanesType, LanesType),
        (LanesType, types.Number),
        (types.Number, LanesType),
    ):

        @lower_builtin(symbol, left, right)
        def lowering(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            a, b = (
                _as_vector(context, builder, kind, value)
                for kind, value in zip(signature.args, values)
            )
            return getattr(builder, instruction)(a, b)


def _others(*kinds: Any) -> list[Any]:
    return [kind for kind in kinds if not isinstance(kind, LanesType)]


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_symbol, _instruction)


def _place(context: Any, builder: Any, kind: Any, value: Any, offset: Any) -> Any:
    """Pointer to float ``offset`` of a pointer or an array."""
    base = (
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
    )
    return builder.gep(base, [offset])


def _vector_place(context: Any, builder: Any, kind: Any, value: Any, offset: Any) -> Any:
    return builder.bitcast(_place(context, builder, kind, value, offset), _VECTOR.as_pointer())


@intrinsic
def floats(typingctx: Any, address: Any) -> Any:
    """The pointer for an address (an int64)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], _SCALAR.as_pointer())

    return pointer(types.int64), codegen


@intrinsic
def aligned(typingctx: Any, array: Any) -> Any:
    """Offset of the first float of ``array`` that starts a cache line."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        address = builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, word)
        gap = builder.and_(builder.neg(address), ir.Constant(word, 63))
        return builder.lshr(gap, ir.Constant(word, 2))

    return types.int64(array), codegen


@intrinsic
def at(typingctx: Any, base: Any, offset: Any) -> Any:
    """One float."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, base, *args), align=4)

    return types.float32(base, types.int64), codegen


@intrinsic
def put(typingctx: Any, base: Any, offset: Any, value: Any) -> Any:
    """Write one float."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(context, builder, base, *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(base, types.int64, types.float32), codegen


@intrinsic
def load(typingctx: Any, base: Any, offset: Any) -> Any:
    """LANES floats."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_vector_place(context, builder, base, *args), align=4)

    return lanes(base, types.int64), codegen


@intrinsic
def store(typingctx: Any, base: Any, offset: Any, value: Any) -> Any:
    """Write LANES floats."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _vector_place(context, builder, base, *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(base, types.int64, lanes), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """The same number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return lanes(types.float32), codegen


@intrinsic
def total(typingctx: Any, v: Any) -> Any:
    """Sum of the lanes, always in the same order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rest, width = args[0], LANES
        while width > 1:
            width //= 2
            half = ir.VectorType(ir.IntType(32), width)
            low, high = (
                ir.Constant(half, list(range(start, start + width))) for start in (0, width)
            )
            rest = builder.fadd(
                builder.shuffle_vector(rest, rest, low), builder.shuffle_vector(rest, rest, high)
            )
        return builder.extract_element(rest, ir.Constant(ir.IntType(32), 0))

    return types.float32(lanes), codegen


@intrinsic
def larger(typingctx: Any, v: Any, floor: Any) -> Any:
    """max(v, floor) in every lane; ``floor`` is one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floors = _splat(builder, args[1])
        return builder.select(builder.fcmp_ordered(">", args[0], floors), args[0], floors)

    return lanes(lanes, types.float32), codegen


@intrinsic
def magnitude(typingctx: Any, v: Any) -> Any:
    """Absolute value."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _called(builder, f"llvm.fabs.v{LANES}f32", _VECTOR, args[0])

    return lanes(lanes), codegen


@intrinsic
def choose(typingctx: Any, v: Any, positive: Any, negative: Any) -> Any:
    """``positive`` where v >= 0, else ``negative``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = ir.Constant(_VECTOR, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">=", args[0], zeros), args[1], args[2])

    return lanes(lanes, lanes, lanes), codegen


@intrinsic
def nearest(typingctx: Any, v: Any) -> Any:
    """The nearest whole number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _called(builder, f"llvm.rint.v{LANES}f32", _VECTOR, args[0])

    return lanes(lanes), codegen


@intrinsic
def scaled(typingctx: Any, v: Any, power: Any) -> Any:
    """v * 2**power for whole powers that keep v in the normal range: the power is added to the
    exponent's bits.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shift = ir.Constant(_INTS, [23] * LANES)
        bits = builder.add(
            builder.bitcast(args[0], _INTS), builder.shl(builder.fptosi(args[1], _INTS), shift)
        )
        return builder.bitcast(bits, _VECTOR)

    return lanes(lanes, lanes), codegen


@intrinsic
def prefetch(typingctx: Any, base: Any, offset: Any) -> Any:
    """Ask for the cache line of a float that will be read soon; any address will do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.bitcast(_place(context, builder, base, *args), _BYTE_POINTER)
        hints = [ir.Constant(ir.IntType(32), number) for number in (0, 3, 1)]
        # LLVM before version 15 knows what a pointer points to, and names its functions by it.
        name = "llvm.prefetch.p0" if str(_BYTE_POINTER) == "ptr" else "llvm.prefetch.p0i8"
        _called(builder, name, ir.VoidType(), place, *hints)
        return context.get_dummy_value()

    return types.void(base, types.int64), codegen


LOG2E = 1.4426950408889634


@njit(inline="always")
def exp2(x):  # type: ignore[no-untyped-def]
    """2**x for x <= 0 to 2e-7 of itself; x below -126 gives about 1e-38 in place of smaller
    numbers.

    2**x = 2**whole * 2**f with f in -0.5 ... 0.5, where a polynomial of degree 5 is off by 1e-7 at
    most.
    """
    x = larger(x, -126.0)
    whole = nearest(x)
    f = x - whole
    p = f * 1.32647272e-3 + 9.67151268e-3
    p = p * f + 5.55073374e-2
    p = p * f + 2.40222421e-1
    p = p * f + 6.93146978e-1
    p = p * f + 1.0
    return scaled(p, whole)


@njit(inline="always")
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)) without overflow."""
    e = exp2(magnitude(x) * -LOG2E)
    return choose(x, splat(1.0), e) / (e + 1.0)


@njit(inline="always")
def softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|) in 0 ... 1; log(1 + e) / e is a
    polynomial, off by 4e-8.
    """
    e = exp2(magnitude(x) * -LOG2E)
    p = e * 5.36482480e-3 + -3.00657946e-2
    p = p * e + 7.92045400e-2
    p = p * e + -1.37538028e-1
    p = p * e + 1.91536552e-1
    p = p * e + -2.48571637e-1
    p = p * e + 3.33213226e-1
    p = p * e + -4.99996480e-1
    p = p * e + 1.0
    return larger(x, 0.0) + e * p
