#include "quant/codec/float_codec.h"

#include <bit>
#include <cstring>

#include "quant/codec/stochastic.h"

namespace thinwire::quant {
namespace {

// Adding half of the last kept bit (less one unit if that bit is 0: ties to even), or a uniform draw below
// it, and cutting off the lower half rounds the magnitude.
std::uint16_t to_bf16(float value, const BlockRun& run, std::uint64_t offset) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t addend =
      run.rounding == Rounding::kNearest ? 0x7fffu + ((bits >> 16) & 1u) : draw_bits(run.key, offset);
  return static_cast<std::uint16_t>((bits + addend) >> 16);
}

float fp32_at(const std::byte* codes, std::size_t i) {
  float value;
  std::memcpy(&value, codes + i * sizeof value, sizeof value);
  return value;
}

float bf16_at(const std::byte* codes, std::size_t i) {
  std::uint16_t code;
  std::memcpy(&code, codes + i * sizeof code, sizeof code);
  return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16);
}

constexpr BlockLoops kFp32Loops = {
    .encode = [](const BlockRun& run, const float* values, std::byte*,
                 std::byte* codes) { std::memcpy(codes, values, run.num_values * sizeof(float)); },
    .decode = [](const BlockRun& run, const std::byte*, const std::byte* codes,
                 float* values) { std::memcpy(values, codes, run.num_values * sizeof(float)); },
    .decode_add =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* sum) {
          for (std::size_t i = 0; i < run.num_values; ++i) sum[i] += fp32_at(codes, i);
        },
};

constexpr BlockLoops kBf16Loops = {
    .encode =
        [](const BlockRun& run, const float* values, std::byte*, std::byte* codes) {
          for (std::size_t i = 0; i < run.num_values; ++i) {
            const std::uint16_t code = to_bf16(values[i], run, run.first + i);
            std::memcpy(codes + i * sizeof code, &code, sizeof code);
          }
        },
    .decode =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* values) {
          for (std::size_t i = 0; i < run.num_values; ++i) values[i] = bf16_at(codes, i);
        },
    .decode_add =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* sum) {
          for (std::size_t i = 0; i < run.num_values; ++i) sum[i] += bf16_at(codes, i);
        },
};

}  // namespace

constinit const Format kFp32Format = {.name = "fp32",
                                      .wire_id = 1,
                                      .has_scale = false,
                                      .code_bytes = [](std::size_t n) { return 4 * n; },
                                      .reference = kFp32Loops};
constinit const Format kBf16Format = {.name = "bf16",
                                      .wire_id = 2,
                                      .has_scale = false,
                                      .code_bytes = [](std::size_t n) { return 2 * n; },
                                      .reference = kBf16Loops};

}  // namespace thinwire::quant
