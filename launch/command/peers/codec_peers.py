"""What `thinwire bench codec --peers` measures beside us: pi-quant and bitsandbytes, each operation once.

Prints {"gbytes_per_s": {KEY: X}, "names": {KEY: NAME}, "missing": [SENTENCE]}; a key is "CODEC OP ROUNDING" of the
operation of ours that it stands beside, a figure GB of float32 a second. pi-quant has one scale for the whole
tensor; finding it is not counted.
Usage: codec_peers.py VALUES BLOCK THREADS
"""
import importlib.metadata
import json
import os
import sys
import time

num_values, block, threads = map(int, sys.argv[1:])
if threads > 1:
    os.sched_setaffinity(0, range(os.cpu_count()))
result = {"gbytes_per_s": {}, "names": {}, "missing": []}


def measure(name, key, call):
    call()
    start = time.perf_counter()
    call()
    result["gbytes_per_s"][key] = num_values * 4 / 1e9 / (time.perf_counter() - start)
    result["names"][key] = name


def measure_piquant(values):
    import numpy
    import piquant

    context = piquant.Context(threads)
    codes, total = numpy.zeros(num_values, numpy.uint8), numpy.zeros(num_values, numpy.float32)
    pointers = values.ctypes.data, codes.ctypes.data, total.ctypes.data
    f32 = piquant.DataType.F32
    name = "pi-quant " + importlib.metadata.version("pypiquant")
    for codec, dtype in ("int8", piquant.DataType.UINT8), ("int4", piquant.DataType.UINT4), (
            "int2", piquant.DataType.UINT2):
        scale, zero = context.compute_quant_params_ptr_float32(pointers[0], dtype, num_values)

        def encode(mode):
            context.quantize_ptr(pointers[0], f32, pointers[1], dtype, num_values, scale, zero, mode)

        def decode(reduce):
            context.dequantize_ptr(pointers[1], dtype, pointers[2], f32, num_values, scale, zero, reduce)

        measure(name, f"{codec} encode stochastic", lambda: encode(piquant.RoundMode.STOCHASTIC))
        measure(name, f"{codec} encode nearest", lambda: encode(piquant.RoundMode.NEAREST))
        measure(name, f"{codec} decode nearest", lambda: decode(piquant.ReduceOp.SET))
        measure(name, f"{codec} decode_add nearest", lambda: decode(piquant.ReduceOp.ADD))


def measure_bitsandbytes(values):
    import torch
    from bitsandbytes import functional

    torch.set_num_threads(threads)
    tensor = torch.from_numpy(values)
    name = "bitsandbytes " + importlib.metadata.version("bitsandbytes")
    measure(name + " dynamic 8-bit", "e4m3 encode nearest",
            lambda: functional.quantize_blockwise(tensor, blocksize=block))
    codes, state = functional.quantize_blockwise(tensor, blocksize=block)
    measure(name + " dynamic 8-bit", "e4m3 decode nearest",
            lambda: functional.dequantize_blockwise(codes, state))
    measure(name, "nf4 encode nearest",
            lambda: functional.quantize_4bit(tensor, blocksize=block, quant_type="nf4"))
    halves, state_of_halves = functional.quantize_4bit(tensor, blocksize=block, quant_type="nf4")
    measure(name, "nf4 decode nearest", lambda: functional.dequantize_4bit(halves, state_of_halves))


try:
    import numpy

    inputs = numpy.random.default_rng(1).standard_normal(num_values, numpy.float32) * numpy.float32(1e-3)
    for peer in measure_piquant, measure_bitsandbytes:
        try:
            peer(inputs)
        except Exception as error:
            result["missing"].append(f"{peer.__name__.removeprefix('measure_')}: {error}")
except ImportError as error:
    result["missing"].append(f"numpy, and so all: {error}")
print(json.dumps(result))
