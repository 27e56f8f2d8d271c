// The scalar loops of a format, from the few functions that tell formats apart. They define the bytes.
//
// struct Rule {
//   using Packing = ...;                                                      // packing.h
//   static float scale(std::span<const float> values, Rounding rounding);     // of one block, >= 0
//   static unsigned zero_code();                       // what a block of scale 0 is filled with
//   static unsigned nearest(float y);                  // code of the level nearest to y
//   static unsigned stochastic(float y, float unit);   // of a level beside y, by a draw in (0, 1)
//       or   static unsigned drawn(float y, std::uint32_t draw);              // by a fixed_draw
//   static float level(unsigned code);                                        // any code
// };
// y = x / scale, one float32 division (for drawn, x * (1 / scale), a division and a product); it may lie
// outside the levels (or be NaN: any code then). A decoded value is level * scale, one float32 product.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "quant/codec/format.h"
#include "quant/codec/stochastic.h"

namespace thinwire::quant {

template <class Rule>
void encode_block(const BlockRun& run, std::uint64_t first, std::span<const float> values, float scale,
                  std::byte* codes) {
  using Packing = typename Rule::Packing;
  std::fill_n(codes, Packing::bytes(values.size()), std::byte{0});
  for (std::size_t i = 0; i < values.size(); ++i) {
    unsigned code = Rule::zero_code();
    if (scale > 0) {
      code = run.rounding == Rounding::kNearest ? Rule::nearest(values[i] / scale)
                                                : stochastic_code<Rule>(values[i], scale, run.key, first + i);
    }
    Packing::put(codes, values.size(), i, code);
  }
}

template <class Rule>
void encode_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    const std::span block{values + begin, std::min(run.block, run.num_values - begin)};
    const float scale = Rule::scale(block, run.rounding);
    std::memcpy(scales, &scale, sizeof scale);
    encode_block<Rule>(run, run.first + begin, block, scale, codes);
    scales += sizeof scale;
    codes += Rule::Packing::bytes(block.size());
  }
}

// emit(i, value): what becomes of the decoded value i of the run.
template <class Rule, class Emit>
void for_each_decoded(const BlockRun& run, const std::byte* scales, const std::byte* codes, Emit emit) {
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    const std::size_t n = std::min(run.block, run.num_values - begin);
    float scale;
    std::memcpy(&scale, scales, sizeof scale);
    for (std::size_t i = 0; i < n; ++i) {
      emit(begin + i, Rule::level(Rule::Packing::get(codes, n, i)) * scale);
    }
    scales += sizeof scale;
    codes += Rule::Packing::bytes(n);
  }
}

template <class Rule>
void decode_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes, float* values) {
  for_each_decoded<Rule>(run, scales, codes, [&](std::size_t i, float value) { values[i] = value; });
}

template <class Rule>
void decode_add_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes, float* sum) {
  for_each_decoded<Rule>(run, scales, codes, [&](std::size_t i, float value) { sum[i] += value; });
}

template <class Rule>
constexpr Format scaled_format(std::string_view name, std::uint8_t wire_id) {
  return {.name = name,
          .wire_id = wire_id,
          .has_scale = true,
          .code_bytes = &Rule::Packing::bytes,
          .reference = {.encode = &encode_blocks<Rule>,
                        .decode = &decode_blocks<Rule>,
                        .decode_add = &decode_add_blocks<Rule>}};
}

}  // namespace thinwire::quant
