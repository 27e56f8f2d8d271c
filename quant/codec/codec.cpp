#include "quant/codec/codec.h"

#include <array>
#include <bit>
#include <stdexcept>

#include "quant/codec/block_codec.h"
#include "quant/codec/float_codec.h"
#include "quant/codec/int_codec.h"
#include "quant/codec/minifloat_codec.h"
#include "quant/codec/nf4_codec.h"
#include "quant/codec/rotated_codec.h"
#include "quant/codec/sign_codec.h"
#include "quant/codec/ternary_codec.h"
#include "quant/codec/topk_codec.h"
#include "quant/kernel/target.h"
#include "quant/kernel/vector_loops.h"

static_assert(std::endian::native == std::endian::little, "payloads are little-endian memory images");

namespace thinwire::quant {
namespace {

constexpr std::size_t kMaxBlock = std::size_t{1} << 20;

template <const Format& format>
std::unique_ptr<Codec> make_block_codec(const CodecOptions& options) {
  return std::make_unique<BlockCodec>(format, vector_loops(format, active_target(), options.block), options);
}

struct Entry {
  std::string_view name;
  std::unique_ptr<Codec> (*make)(const CodecOptions& options);
};

template <const Format& format>
Entry entry_of() {
  return {format.name, &make_block_codec<format>};
}

std::unique_ptr<Codec> make_topk_codec(const CodecOptions& options) {
  return std::make_unique<TopkCodec>(options);
}

// The registry: a new codec is a file and a line here.
std::span<const Entry> registry() {
  static const std::array kEntries = {
      entry_of<kFp32Format>(),         entry_of<kBf16Format>(),    entry_of<kE4m3Format>(),
      entry_of<kE5m2Format>(),         entry_of<kInt8Format>(),    entry_of<kInt4Format>(),
      entry_of<kInt2Format>(),         entry_of<kNf4Format>(),     entry_of<kE2m1Format>(),
      entry_of<kE3m0Format>(),         entry_of<kTernaryFormat>(), entry_of<kSignFormat>(),
      Entry{"topk", &make_topk_codec},
  };
  return kEntries;
}

const Entry& find_entry(const std::string& name) {
  std::string known;
  for (const Entry& entry : registry()) {
    if (entry.name == name) return entry;
    known += ' ';
    known += entry.name;
  }
  throw std::invalid_argument("unknown codec '" + name + "'; known codecs:" + known);
}

// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
std::uint64_t mix(std::uint64_t h) {
  h += 0x9e3779b97f4a7c15u;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

}  // namespace

std::unique_ptr<Codec> make_codec(const CodecOptions& options) {
  const Entry& entry = find_entry(options.name);
  if (options.block == 0 || options.block % 8 != 0 || options.block > kMaxBlock) {
    throw std::invalid_argument("codec '" + options.name +
                                "': block must be a positive multiple of 8, at most " +
                                std::to_string(kMaxBlock) + "; got " + std::to_string(options.block));
  }
  std::unique_ptr<Codec> codec = entry.make(options);
  if (options.rotate) codec = std::make_unique<RotatedCodec>(std::move(codec));
  return codec;
}

std::vector<std::string> codec_names() {
  std::vector<std::string> names;
  for (const Entry& entry : registry()) names.emplace_back(entry.name);
  return names;
}

std::size_t find_nan(std::span<const float> values) {
  // Whole chunks without an early exit, so that the compiler vectorises the test.
  constexpr std::size_t kChunk = 1024;
  std::size_t i = 0;
  for (; i + kChunk <= values.size(); i += kChunk) {
    bool all_numbers = true;
    for (std::size_t j = i; j < i + kChunk; ++j) all_numbers &= values[j] == values[j];
    if (!all_numbers) break;
  }
  while (i < values.size() && values[i] == values[i]) ++i;
  return i;
}

std::uint64_t stream_key(const StreamPosition& position) {
  std::uint64_t key = mix(position.seed);
  key = mix(key ^ position.step);
  key = mix(key ^ position.worker);
  key = mix(key ^ position.fragment);
  return mix(key ^ position.leg);
}

}  // namespace thinwire::quant
