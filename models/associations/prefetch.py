"""Ask the processor for memory before it is needed: what a loop over rows in random order otherwise waits for.

A loop that knows where it will read next, but does long work in between, pays the memory's whole latency at each turn.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


def _prefetch(_typing: Any, array: Any, index: Any, n_bytes: Any) -> Any:
    """From a kernel: fetch the cache line `n_bytes` behind the start of ``array.ravel()[index]``; changes nothing, may miss.

    The address may lie outside of the array: nothing is read. The array must be contiguous.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        there = make_array(signature.args[0])(context, builder, arguments[0])  # type: ignore[no-untyped-call]
        at, far = (context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 2))
        number, flag, byte = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
        address = builder.add(builder.ptrtoint(there.data, number), builder.add(builder.mul(at, there.itemsize), far))
        to_fetch = ir.FunctionType(ir.VoidType(), (byte, flag, flag, flag))
        fetch = builder.module.declare_intrinsic("llvm.prefetch", (byte,), to_fetch)
        builder.call(fetch, (builder.inttoptr(address, byte), flag(0), flag(3), flag(1)))  # to read, soon, data
        return context.get_dummy_value()

    return types.void(array, index, n_bytes), generate


prefetch: Any = intrinsic(_prefetch)
