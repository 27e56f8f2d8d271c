// LSQ, learned step size quantisation: Esser et al., ICLR 2020, arXiv 1902.08153, eqs. (1)-(3) and (5).
//
// A value v becomes the code round_half_even(clamp(v / s, -Qn, Qp)) and comes back as code * s; signed b
// bits: Qn = 2^(b-1), Qp = 2^(b-1) - 1. The step s is learned: one per output channel of a weight, one per
// activation tensor. +0 and -0 give code 0 and come back as +0. NaN gives an unspecified code.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace thinwire::quant {

// Steps never get smaller: a step that crossed zero would turn its layer around.
constexpr double kMinLsqStep = 1e-8;

// The step that is computed with: kMinLsqStep where the stored one is smaller, as an update may leave it
// until it is brought back. What is handed to other readers is this one.
at::Tensor lsq_effective_step(const at::Tensor& step);

struct LsqRange {
  double lowest;   // -Qn
  double highest;  // Qp
};
LsqRange lsq_range(int bits);

// v: float32, any shape. step: float32, broadcasts against v; taken as kMinLsqStep where it is smaller.
// Returns int8 codes of v's shape. bits: 2 to 8.
at::Tensor lsq_codes(const at::Tensor& v, const at::Tensor& step, int bits);

// codes * step, float32. Training and deployment both come through here.
at::Tensor lsq_dequantize(const at::Tensor& codes, const at::Tensor& step);

// lsq_dequantize(lsq_codes(v)) with gradients (g: of the result):
//   dv = g where -Qn < v/s < Qp, else 0
//   ds = sum g * (round(v/s) - v/s inside, -Qn below, Qp above) / sqrt(values_per_step * Qp)
// The sum runs over the values that share a step. values_per_step is N of the paper: elements of one channel
// of a weight, or features of one token of an activation (tokens are the batch).
at::Tensor lsq_fake_quantize(const at::Tensor& v, const at::Tensor& step, int bits,
                             std::int64_t values_per_step);

// The start of a step: 2 * mean|v| / sqrt(Qp). Of a whole tensor: float32 [1]; of each row of a matrix:
// [rows].
at::Tensor lsq_initial_step(const at::Tensor& v, int bits);
at::Tensor lsq_initial_row_steps(const at::Tensor& matrix, int bits);

}  // namespace thinwire::quant
