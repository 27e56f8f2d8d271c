#include "quant/codec/outer_pass.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/kernel/target.h"

namespace thinwire::quant {
namespace {

// Values of a tile, about: few, so that memory is asked for again before what was asked for has come.
constexpr std::size_t kTile = 512;

void check_lengths(const char* operation, std::size_t expected, std::size_t found) {
  if (expected == found) return;
  throw std::invalid_argument(std::string(operation) + ": spans of one call have one length, got " +
                              std::to_string(expected) + " and " + std::to_string(found));
}

template <class Call>
void for_ranges(Threads* threads, std::size_t n, std::size_t unit, Call call) {
  if (threads != nullptr) {
    threads->for_ranges(n, unit, call);
  } else if (n > 0) {
    call(std::size_t{0}, n);
  }
}

// A tile is whole blocks.
std::size_t tile_of(const Codec& codec) {
  return std::max<std::size_t>(1, kTile / codec.block()) * codec.block();
}

// call(first, count) for the tiles of a range.
template <class Call>
void for_tiles(std::size_t tile, std::size_t first, std::size_t count, Call call) {
  for (std::size_t done = 0; done < count; done += tile) call(first + done, std::min(tile, count - done));
}

// Room for a tile, on the stack unless blocks are longer than usual.
class Scratch {
 public:
  explicit Scratch(std::size_t tile) : large_(tile > kTile ? tile : 0) {}
  float* data() { return large_.empty() ? values_ : large_.data(); }

 private:
  alignas(64) float values_[kTile];
  std::vector<float> large_;
};

void add(const TileSums& more, TileSums& sums) {
  sums.own_square += more.own_square;
  sums.mean_square += more.mean_square;
  sums.product += more.product;
}

// The deltas of a range, up to the first tile with a NaN: its index, or npos.
constexpr std::size_t kNone = ~std::size_t{0};
std::size_t encode_delta_range(const Codec& codec, const TileOps& ops, const DeltaSource& source,
                               std::uint64_t key, std::span<std::byte> code, const Codec::Range& range) {
  const std::size_t n = source.agreed.size(), tile = tile_of(codec);
  Scratch value(tile);
  std::size_t nan = kNone;
  for_tiles(tile, range.first, range.count, [&](std::size_t first, std::size_t count) {
    if (nan != kNone) return;
    float* residual = source.residual.empty() ? nullptr : source.residual.data() + first;
    if (ops.take_delta(source.agreed.data() + first, source.local.data() + first, residual, source.decay,
                       value.data(), count)) {
      nan = first + find_nan({value.data(), count});
      return;
    }
    codec.encode_range(n, first, {value.data(), count}, key, code);
    if (residual == nullptr) return;
    codec.decode_range(n, first, code, {residual, count});
    ops.keep_rest(value.data(), residual, count);
  });
  return nan;
}

TileSums apply_range(const Codec& codec, const TileOps& ops, const OuterUpdate& update,
                     const Codec::Range& range) {
  const UpdateRule rule = {
      .nesterov = update.rule, .contributors = update.contributors, .alpha = update.alpha};
  const std::size_t tile = tile_of(codec);
  Scratch mean(tile), own(tile);
  TileSums sums;
  for_tiles(tile, range.first, range.count, [&](std::size_t first, std::size_t count) {
    const std::span<float> values(mean.data(), count);
    const auto decode_part = [&](const CodedValues& coded, std::span<float> to) {
      codec.decode_range(coded.num_values, coded.first + first, coded.code, to);
    };
    decode_part(update.payloads[0], values);
    for (const CodedValues& coded : update.payloads.subspan(1))
      codec.decode_add_range(coded.num_values, coded.first + first, coded.code, values);
    ops.update(rule, values.data(), update.momentum.data() + first, update.agreed.data() + first,
               update.local.data() + first, count);
    if (update.own == nullptr) return;
    decode_part(*update.own, {own.data(), count});
    ops.add_measures(own.data(), values.data(), count, sums);
  });
  return sums;
}

}  // namespace

void encode(const Codec& codec, std::span<const float> values, std::uint64_t key, std::span<std::byte> code,
            Threads* threads) {
  for_ranges(threads, values.size(), codec.block(), [&](std::size_t first, std::size_t count) {
    codec.encode_range(values.size(), first, values.subspan(first, count), key, code);
  });
}

void decode(const Codec& codec, std::span<const std::byte> code, std::span<float> values, Threads* threads) {
  for_ranges(threads, values.size(), codec.block(), [&](std::size_t first, std::size_t count) {
    codec.decode_range(values.size(), first, code, values.subspan(first, count));
  });
}

void decode_add(const Codec& codec, std::span<const std::byte> code, std::span<float> sum, Threads* threads) {
  for_ranges(threads, sum.size(), codec.block(), [&](std::size_t first, std::size_t count) {
    codec.decode_add_range(sum.size(), first, code, sum.subspan(first, count));
  });
}

std::size_t encode_delta(const Codec& codec, const DeltaSource& source, std::uint64_t key,
                         std::span<std::byte> code, Threads* threads) {
  const std::size_t n = source.agreed.size();
  check_lengths("encode_delta", n, source.local.size());
  if (!source.residual.empty()) check_lengths("encode_delta", n, source.residual.size());
  const TileOps ops = tile_ops(active_target());
  std::mutex mutex;
  std::size_t nan = n;
  for_ranges(threads, n, codec.block(), [&](std::size_t first, std::size_t count) {
    const std::size_t found = encode_delta_range(codec, ops, source, key, code, {first, count});
    const std::lock_guard lock(mutex);
    nan = std::min(nan, found);
  });
  return nan;
}

TileSums apply_update(const Codec& codec, const OuterUpdate& update, Threads* threads) {
  const std::size_t n = update.agreed.size();
  check_lengths("apply_update", n, update.momentum.size());
  check_lengths("apply_update", n, update.local.size());
  if (update.payloads.empty()) throw std::invalid_argument("apply_update: expected a payload, got none");
  const TileOps ops = tile_ops(active_target());
  std::mutex mutex;
  TileSums sums;
  for_ranges(threads, n, codec.block(), [&](std::size_t first, std::size_t count) {
    const TileSums part = apply_range(codec, ops, update, {first, count});
    const std::lock_guard lock(mutex);
    add(part, sums);
  });
  return sums;
}

}  // namespace thinwire::quant
