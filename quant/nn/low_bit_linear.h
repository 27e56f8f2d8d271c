// What every layer with a low-bit weight has in common, and the packed bytes of a matrix of codes.
//
// A layer comes in two forms: one that trains, and one that is deployed and holds only the packed tensors.
// Both dequantise by the same function and multiply by the same product, so their outputs are equal bit for
// bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "quant/nn/linear.h"

namespace thinwire::quant {

class LowBitLinear : public Linear {
 public:
  // The matrix that forward multiplies by: float32 [out, in], own memory, no graph.
  virtual at::Tensor effective_weight() const = 0;

  // The tensors of the deployed form, by the names of its parameters and buffers.
  virtual std::vector<std::pair<std::string, at::Tensor>> packed() const = 0;
};

// codes: integers of any dtype in [0, 2^bits), [rows, columns] -> uint8 [rows, ceil(columns * bits / 8)].
// Each row starts a byte.
at::Tensor pack_rows(const at::Tensor& codes, int bits);
// The inverse: uint8 [rows, columns].
at::Tensor unpack_rows(const at::Tensor& packed, int bits, std::int64_t columns);

}  // namespace thinwire::quant
