#include "quant/codec/topk_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "quant/codec/block_scale.h"
#include "quant/codec/packing.h"
#include "quant/codec/stochastic.h"

namespace thinwire::quant {
namespace {

using ValuePacking = BitPacking<2>;

// Index j of a chunk's 12-bit indices: two lie in three bytes, the first in the lowest 12 bits.
struct IndexPacking {
  static constexpr std::size_t bytes(std::size_t n) { return (3 * n + 1) / 2; }

  // In the order of j: an even one clears the 4 bits that the next fills.
  static void put(std::byte* codes, std::size_t j, unsigned index) {
    std::byte* at = codes + 3 * j / 2;
    if (j % 2 == 0) {
      at[0] = static_cast<std::byte>(index);
      at[1] = static_cast<std::byte>(index >> 8);
    } else {
      at[0] |= static_cast<std::byte>(index << 4);
      at[1] = static_cast<std::byte>(index >> 4);
    }
  }
  static unsigned get(const std::byte* codes, std::size_t j) {
    const std::byte* at = codes + 3 * j / 2;
    const unsigned both = static_cast<unsigned>(at[0]) | static_cast<unsigned>(at[1]) << 8;
    return j % 2 == 0 ? both & 0xfffu : both >> 4;
  }
};

// Levels are floats whose lower 16 bits are 0.
float nearest_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & ~0xffffu);
}
float bf16_below(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & ~0xffffu);
}
float bf16_above(float value) {
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0xffffu) & ~0xffffu);
}

struct Levels {
  float low = 0;
  float high = 0;
};

void store(const Levels& levels, std::byte* place) {
  const std::uint32_t bits =
      std::bit_cast<std::uint32_t>(levels.low) >> 16 | std::bit_cast<std::uint32_t>(levels.high);
  std::memcpy(place, &bits, sizeof bits);
}

Levels load(const std::byte* place) {
  std::uint32_t bits;
  std::memcpy(&bits, place, sizeof bits);
  return {std::bit_cast<float>(bits << 16), std::bit_cast<float>(bits & ~0xffffu)};
}

// A chunk while it is encoded. Magnitudes are compared by their bits, which are ordered as they are.
struct Chunk {
  std::array<std::uint32_t, kTopkChunk> magnitudes;
  std::size_t size = 0;
  std::array<std::uint16_t, kTopkChunk> kept;  // indices, ascending
  std::size_t num_kept = 0;

  float magnitude(std::size_t i) const { return std::bit_cast<float>(magnitudes[i]); }
};

// What lies above `magnitude` is kept, and the first num_equal of those equal to it.
struct Cut {
  std::uint32_t magnitude = 0;
  std::size_t num_equal = 0;
};

// By the upper 11 bits into buckets, from the largest on, then exactly within the bucket that the cut lies
// in: few of a chunk's values share a bucket, an eighth of a binade.
Cut find_cut(const Chunk& chunk, std::size_t num_kept) {
  constexpr unsigned kLowerBits = 20;
  const std::span magnitudes(chunk.magnitudes.data(), chunk.size);
  std::array<std::uint32_t, 2048> counts{};
  for (const std::uint32_t magnitude : magnitudes) ++counts[magnitude >> kLowerBits];
  std::size_t above = 0;
  std::uint32_t bucket = counts.size() - 1;
  while (above + counts[bucket] < num_kept) above += counts[bucket--];

  std::array<std::uint32_t, kTopkChunk> candidates;
  std::size_t num_candidates = 0;
  for (const std::uint32_t magnitude : magnitudes) {
    candidates[num_candidates] = magnitude;
    num_candidates += magnitude >> kLowerBits == bucket;
  }
  const auto begin = candidates.begin();
  const auto cut = begin + static_cast<std::ptrdiff_t>(num_kept - above - 1);
  std::nth_element(begin, cut, begin + static_cast<std::ptrdiff_t>(num_candidates), std::greater<>());
  const auto num_larger =
      std::count_if(begin, cut, [cut](std::uint32_t candidate) { return candidate > *cut; });
  return {*cut, num_kept - above - static_cast<std::size_t>(num_larger)};
}

void keep_largest(Chunk& chunk, std::size_t num_kept) {
  Cut cut = find_cut(chunk, num_kept);
  chunk.num_kept = 0;
  for (std::size_t i = 0; i < chunk.size; ++i) {
    const bool equal = chunk.magnitudes[i] == cut.magnitude && cut.num_equal > 0;
    chunk.kept[chunk.num_kept] = static_cast<std::uint16_t>(i);
    chunk.num_kept += equal || chunk.magnitudes[i] > cut.magnitude;
    cut.num_equal -= equal;
  }
}

// Sums in double: of equal floats they are exact, so that the levels of decoded values are these values.
Levels mean_levels(const Chunk& chunk) {
  double sum = 0;
  for (std::size_t j = 0; j < chunk.num_kept; ++j) sum += chunk.magnitude(chunk.kept[j]);
  const double mean = sum / static_cast<double>(chunk.num_kept);
  double low = 0, high = 0;
  std::size_t num_high = 0;
  for (std::size_t j = 0; j < chunk.num_kept; ++j) {
    const float a = chunk.magnitude(chunk.kept[j]);
    (a > mean ? high : low) += a;
    num_high += a > mean;
  }
  const auto low_level = static_cast<float>(low / static_cast<double>(chunk.num_kept - num_high));
  if (num_high == 0) return {nearest_bf16(low_level), nearest_bf16(low_level)};
  return {nearest_bf16(low_level), nearest_bf16(static_cast<float>(high / static_cast<double>(num_high)))};
}

Levels covering_levels(const Chunk& chunk) {
  const auto of = [&](std::uint16_t i) { return chunk.magnitudes[i]; };
  const auto [least, largest] =
      std::ranges::minmax_element(chunk.kept.begin(), chunk.kept.begin() + chunk.num_kept, {}, of);
  return {bf16_below(chunk.magnitude(*least)), bf16_above(chunk.magnitude(*largest))};
}

Levels fit_levels(const Chunk& chunk, Rounding rounding) {
  const Levels levels = rounding == Rounding::kNearest ? mean_levels(chunk) : covering_levels(chunk);
  return {zero_if_tiny(levels.low), zero_if_tiny(levels.high)};
}

// call(index, value) for every value that the codes hold. An index that is not above the one before it, or
// lies beyond the chunk, comes from no encoder; it is passed over.
template <class Call>
void for_each_kept(const Levels& levels, std::size_t num_kept, std::size_t chunk_size, const std::byte* codes,
                   Call call) {
  const std::byte* value_codes = codes + IndexPacking::bytes(num_kept);
  std::size_t least_next = 0;
  for (std::size_t j = 0; j < num_kept; ++j) {
    const std::size_t index = IndexPacking::get(codes, j);
    if (index < least_next || index >= chunk_size) continue;
    least_next = index + 1;
    const unsigned code = ValuePacking::get(value_codes, num_kept, j);
    const float level = (code & 1u) != 0 ? levels.high : levels.low;
    call(index, (code & 2u) != 0 ? -level : level);
  }
}

CodecOptions checked(CodecOptions options) {
  if (options.k < 1 || options.k > kTopkChunk) {
    throw std::invalid_argument("codec 'topk': k must be 1 to " + std::to_string(kTopkChunk) +
                                ", the values kept of a chunk; got " + std::to_string(options.k));
  }
  if (options.rotate) {
    throw std::invalid_argument(
        "codec 'topk' cannot be rotated: a rotation spreads the few large values that it keeps over all; "
        "set rotate to false");
  }
  options.block = kTopkChunk;
  return options;
}

}  // namespace

TopkCodec::TopkCodec(const CodecOptions& options) : BlockLayoutCodec(checked(options), /*has_scale=*/true) {}

std::size_t TopkCodec::num_kept(std::size_t num_values) const {
  return (options().k * num_values + kTopkChunk - 1) / kTopkChunk;
}

std::size_t TopkCodec::block_code_bytes(std::size_t num_values) const {
  const std::size_t kept = num_kept(num_values);
  return IndexPacking::bytes(kept) + ValuePacking::bytes(kept);
}

template <class Call>
void TopkCodec::for_each_chunk(std::size_t n, const Range& range, Call call) const {
  for (std::size_t begin = 0; begin < range.count; begin += kTopkChunk) {
    const std::size_t first = range.first + begin;
    call(begin, std::min(kTopkChunk, range.count - begin), scale_bytes(first),
         scale_bytes(n) + code_bytes(first));
  }
}

void TopkCodec::encode_range(std::size_t n, std::size_t first, std::span<const float> values,
                             std::uint64_t key, std::span<std::byte> code) const {
  check_size(n, code.size());
  check_range(n, {first, values.size()});
  Chunk chunk;
  for_each_chunk(
      n, {first, values.size()},
      [&](std::size_t begin, std::size_t size, std::size_t levels_at, std::size_t codes_at) {
        chunk.size = size;
        for (std::size_t i = 0; i < size; ++i) {
          chunk.magnitudes[i] = std::bit_cast<std::uint32_t>(limited(std::fabs(values[begin + i])));
        }
        keep_largest(chunk, num_kept(size));
        const Levels levels = fit_levels(chunk, rounding());
        store(levels, code.data() + levels_at);

        std::byte* const indices = code.data() + codes_at;
        std::byte* const value_codes = indices + IndexPacking::bytes(chunk.num_kept);
        std::fill_n(value_codes, ValuePacking::bytes(chunk.num_kept), std::byte{0});
        for (std::size_t j = 0; j < chunk.num_kept; ++j) {
          const std::size_t i = chunk.kept[j];
          const float a = chunk.magnitude(i);
          const bool is_high =
              rounding() == Rounding::kNearest
                  ? a > 0.5f * (levels.low + levels.high)
                  : draw_unit(key, first + begin + i) * (levels.high - levels.low) < a - levels.low;
          const bool is_negative = values[begin + i] < 0 && (is_high ? levels.high : levels.low) > 0;
          IndexPacking::put(indices, j, static_cast<unsigned>(i));
          ValuePacking::put(value_codes, chunk.num_kept, j, (is_negative ? 2u : 0u) | (is_high ? 1u : 0u));
        }
      });
}

void TopkCodec::decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                             std::span<float> values) const {
  check_size(n, code.size());
  check_range(n, {first, values.size()});
  std::fill(values.begin(), values.end(), 0.0f);
  for_each_chunk(n, {first, values.size()},
                 [&](std::size_t begin, std::size_t size, std::size_t levels_at, std::size_t codes_at) {
                   for_each_kept(load(code.data() + levels_at), num_kept(size), size, code.data() + codes_at,
                                 [&](std::size_t i, float value) { values[begin + i] = value; });
                 });
}

void TopkCodec::decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                                 std::span<float> sum) const {
  check_size(n, code.size());
  check_range(n, {first, sum.size()});
  for_each_chunk(n, {first, sum.size()},
                 [&](std::size_t begin, std::size_t size, std::size_t levels_at, std::size_t codes_at) {
                   for_each_kept(load(code.data() + levels_at), num_kept(size), size, code.data() + codes_at,
                                 [&](std::size_t i, float value) { sum[begin + i] += value; });
                 });
}

}  // namespace thinwire::quant
