// (codec, rounding, block) as a test parameter, and the two calls every test makes.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "quant/codec/codec.h"
#include "quant/codec/topk_codec.h"

namespace thinwire::quant::testing {

// Every codec, rounding and block; topk with its own block only.
inline std::vector<CodecOptions> codec_cases(const std::vector<std::size_t>& blocks) {
  std::vector<CodecOptions> cases;
  for (const std::string& name : codec_names()) {
    for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
      for (const std::size_t block : name == "topk" ? std::vector{kTopkChunk} : blocks) {
        cases.push_back({.name = name, .block = block, .rounding = rounding});
      }
    }
  }
  return cases;
}

// Those of codec_cases that code every value of a block.
inline std::vector<CodecOptions> dense_cases(const std::vector<std::size_t>& blocks) {
  std::vector<CodecOptions> cases = codec_cases(blocks);
  std::erase_if(cases, [](const CodecOptions& options) { return options.name == "topk"; });
  return cases;
}

// All of codec_cases, and the dense ones rotated.
inline std::vector<CodecOptions> cases_rotated_or_not(const std::vector<std::size_t>& blocks) {
  std::vector<CodecOptions> cases = codec_cases(blocks);
  for (CodecOptions options : dense_cases(blocks)) {
    options.rotate = true;
    cases.push_back(options);
  }
  return cases;
}

inline std::string case_name(const ::testing::TestParamInfo<CodecOptions>& info) {
  return info.param.name + (info.param.rounding == Rounding::kNearest ? "_nearest_" : "_stochastic_") +
         std::to_string(info.param.block) + (info.param.rotate ? "_rotated" : "");
}

inline std::vector<std::byte> encode(const Codec& codec, std::span<const float> values,
                                     std::uint64_t key = 7) {
  std::vector<std::byte> code(codec.encoded_bytes(values.size()), std::byte{0xa5});
  codec.encode(values, key, code);
  return code;
}

inline std::vector<float> decode(const Codec& codec, std::span<const std::byte> code, std::size_t n) {
  std::vector<float> values(n, -77.0f);
  codec.decode(code, values);
  return values;
}

inline std::vector<std::uint32_t> bits_of(std::span<const float> values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

}  // namespace thinwire::quant::testing

namespace thinwire::quant {
inline void PrintTo(const CodecOptions& options, std::ostream* out) {
  *out << options.name << " block " << options.block
       << (options.rounding == Rounding::kNearest ? " nearest" : " stochastic")
       << (options.rotate ? " rotated" : "");
}
}  // namespace thinwire::quant
