// What the registry knows of a format, and the two loops that every implementation of it provides.
//
// A format codes blocks. For each block the encoder writes one float32 scale (unless the format has none) and
// the block's codes; scales lie together before all codes (docs/wire_format.md). The reference loops of
// quant/codec define the bytes; those of quant/kernel must write the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quant/codec/codec.h"

namespace thinwire::quant {

// Consecutive blocks of one payload: all of `block` values, but the payload's last, which may be shorter.
struct BlockRun {
  std::size_t block = 0;
  std::size_t num_values = 0;
  std::uint64_t first = 0;  // offset in the payload of the run's first value, for the stochastic draws
  std::uint64_t key = 0;
  Rounding rounding = Rounding::kNearest;
};

// values, codes: those of the run. scales: 4 bytes a block, unused by formats without scales; no alignment
// is assumed. decode reads run.block and run.num_values only.
//
// encode_delta is optional, as Codec::encode_delta_range for whole blocks: source.residual is empty, or of
// the run's length as the others are. Returns the number of values before the first NaN, or run.num_values.
struct BlockLoops {
  using Encode = void (*)(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes);
  using Decode = void (*)(const BlockRun& run, const std::byte* scales, const std::byte* codes,
                          float* values);
  using EncodeDelta = std::size_t (*)(const BlockRun& run, const DeltaSource& source, std::byte* scales,
                                      std::byte* codes);
  Encode encode = nullptr;
  Decode decode = nullptr;
  Decode decode_add = nullptr;
  EncodeDelta encode_delta = nullptr;
};

struct Format {
  std::string_view name;
  std::uint8_t wire_id;
  bool has_scale;
  std::size_t (*code_bytes)(std::size_t num_values);  // of one block
  BlockLoops reference;
};

}  // namespace thinwire::quant
