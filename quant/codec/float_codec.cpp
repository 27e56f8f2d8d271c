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

float from_bf16(std::uint16_t code) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16);
}

template <class Stored, class ToStored>
void encode_each(const BlockRun& run, const float* values, std::byte* codes, ToStored to_stored) {
  for (std::size_t i = 0; i < run.num_values; ++i) {
    const Stored stored = to_stored(values[i], i);
    std::memcpy(codes + i * sizeof stored, &stored, sizeof stored);
  }
}

template <class Stored, class Emit>
void decode_each(const BlockRun& run, const std::byte* codes, Emit emit) {
  for (std::size_t i = 0; i < run.num_values; ++i) {
    Stored stored;
    std::memcpy(&stored, codes + i * sizeof stored, sizeof stored);
    emit(i, stored);
  }
}

constexpr BlockLoops kFp32Loops = {
    .encode =
        [](const BlockRun& run, const float* values, std::byte*, std::byte* codes) {
          encode_each<float>(run, values, codes, [](float value, std::size_t) { return value; });
        },
    .decode =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* values) {
          decode_each<float>(run, codes, [&](std::size_t i, float value) { values[i] = value; });
        },
    .decode_add =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* sum) {
          decode_each<float>(run, codes, [&](std::size_t i, float value) { sum[i] += value; });
        },
};

constexpr BlockLoops kBf16Loops = {
    .encode =
        [](const BlockRun& run, const float* values, std::byte*, std::byte* codes) {
          encode_each<std::uint16_t>(run, values, codes, [&](float value, std::size_t i) {
            return to_bf16(value, run, run.first + i);
          });
        },
    .decode =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* values) {
          decode_each<std::uint16_t>(run, codes,
                                     [&](std::size_t i, std::uint16_t code) { values[i] = from_bf16(code); });
        },
    .decode_add =
        [](const BlockRun& run, const std::byte*, const std::byte* codes, float* sum) {
          decode_each<std::uint16_t>(run, codes,
                                     [&](std::size_t i, std::uint16_t code) { sum[i] += from_bf16(code); });
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
