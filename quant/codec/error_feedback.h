// Error feedback around any codec: what rounding took from a value is added to the next one
// (Seide et al., 2014; decay as in MuLoCo, arXiv 2505.23725).
//
//   value    = delta + decay * residual         (decay 1: delta + residual)
//   residual = value - decode(encode(value))    one float32 subtraction
//
// The subtraction is exact, so that decode + residual == value bit by bit, when rounding to nearest in a
// format with a level 0 (all but int2 and sign), unrotated, for values that are not cut off - nor kept by
// topk far below the level that they become.
//
// Residuals stay below a small multiple of the largest delta, but with ternary or sign rounded stochastically
// they grow without bound: do not combine these.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/codec/codec.h"
#include "quant/codec/threads.h"

namespace thinwire::quant {

class ErrorFeedback {
 public:
  // codec must outlive the object. The residual starts as zeros.
  // decay in [0, 1]; throws std::invalid_argument otherwise.
  ErrorFeedback(const Codec& codec, std::size_t num_values, float decay = 1.0f);

  // delta: num_values finite values in; on return it holds the sum that was encoded.
  // code: encoded_bytes(num_values), as Codec::encode.
  void encode(std::span<float> delta, std::uint64_t key, std::span<std::byte> code);
  // The same of the values from `first` on, as Codec::encode_range: every value once a payload, in any order.
  void encode_range(std::size_t first, std::span<float> delta, std::uint64_t key, std::span<std::byte> code);

  // outer_delta and encode in one sweep (quant/codec/outer_pass.h), with the same bits: encodes agreed -
  // local. Returns the index of the first NaN, or num_values; with a NaN, the object and the code are
  // unusable.
  [[nodiscard]] std::size_t encode_delta(std::span<const float> agreed, std::span<const float> local,
                                         std::uint64_t key, std::span<std::byte> code,
                                         Threads* threads = nullptr);

  // The state: a checkpoint reads it and a resumed run writes it back.
  std::span<float> residual() { return residual_; }
  std::span<const float> residual() const { return residual_; }

 private:
  void check_size(std::size_t num_values) const;

  const Codec& codec_;
  float decay_;
  std::vector<float> residual_;
};

}  // namespace thinwire::quant
