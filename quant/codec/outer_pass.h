// The outer loop's arithmetic and coding over a fragment, each in one sweep: what a tile of values needs is
// read from memory once and written once. The bits are those of the separate steps (quant/kernel/outer_ops.h,
// ErrorFeedback), for any number of threads.
//
// Nothing here allocates, except for blocks of more than 4096 values. threads: null for the calling thread
// alone. The arithmetic runs on the SIMD target of the calling thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/codec/codec.h"
#include "quant/codec/threads.h"
#include "quant/kernel/tile_ops.h"

namespace thinwire::quant {

// Codec::encode, decode and decode_add, in ranges.
void encode(const Codec& codec, std::span<const float> values, std::uint64_t key, std::span<std::byte> code,
            Threads* threads);
void decode(const Codec& codec, std::span<const std::byte> code, std::span<float> values, Threads* threads);
void decode_add(const Codec& codec, std::span<const std::byte> code, std::span<float> sum, Threads* threads);

// Codec::encode_delta_range over a whole payload.
// Returns the index of the first NaN among the values to be encoded, or agreed.size() if there is none. With
// a NaN, refuse to send: code and residual are then unusable. Throws std::invalid_argument if the lengths
// differ.
[[nodiscard]] std::size_t encode_delta(const Codec& codec, const DeltaSource& source, std::uint64_t key,
                                       std::span<std::byte> code, Threads* threads = nullptr);

// What is applied: the mean of the payloads, as nesterov_step on (agreed, momentum), then merge_into_local.
struct OuterUpdate {
  std::span<const CodedValues> payloads = {};  // at least one; summed in this order, then divided
  float contributors = 1;
  NesterovRule rule = {};
  float alpha = 0;  // of merge_into_local
  std::span<float> agreed = {};
  std::span<float> momentum = {};
  std::span<float> local = {};       // or empty: nothing is merged
  const CodedValues* own = nullptr;  // if set, measured against the mean
};

// Returns the measures, in double, or zeros without update.own. Their last bits may depend on the number of
// threads; the spans' do not.
// Throws std::invalid_argument if the lengths differ or there is no payload.
TileSums apply_update(const Codec& codec, const OuterUpdate& update, Threads* threads = nullptr);

// The measures alone, of what was sent against the mean that came of it.
TileSums measure(const Codec& codec, const CodedValues& own, std::span<const float> mean);

}  // namespace thinwire::quant
