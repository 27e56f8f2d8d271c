#include "quant/codec/outer_pass.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>

#include "quant/codec/tiles.h"
#include "quant/kernel/target.h"

namespace thinwire::quant {
namespace {

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

TileSums apply_range(const Codec& codec, const TileOps& ops, const OuterUpdate& update, const Range& range) {
  const UpdateRule rule = {.nesterov = update.rule,
                           .contributors = update.contributors,
                           .alpha = update.local.empty() ? 0 : update.alpha};
  const std::size_t tile = tile_of(codec);
  TileBuffer mean(tile), own(tile);
  TileSums sums;
  for_tiles(tile, range, [&](std::size_t first, std::size_t count) {
    const std::span<float> values(mean.data(), count);
    const auto decode_part = [&](const CodedValues& coded, std::span<float> to) {
      codec.decode_range(coded.num_values, coded.first + first, coded.code, to);
    };
    decode_part(update.payloads[0], values);
    for (const CodedValues& coded : update.payloads.subspan(1))
      codec.decode_add_range(coded.num_values, coded.first + first, coded.code, values);
    float* agreed = update.agreed.data() + first;
    float* local = update.local.empty() ? agreed : update.local.data() + first;
    ops.update(rule, values.data(), update.momentum.data() + first, agreed, local, count);
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
  std::mutex mutex;
  std::size_t nan = n;
  for_ranges(threads, n, codec.block(), [&](std::size_t first, std::size_t count) {
    const std::size_t found = codec.encode_delta_range(n, first, source.part({first, count}), key, code);
    const std::lock_guard lock(mutex);
    nan = std::min(nan, found);
  });
  return nan;
}

TileSums apply_update(const Codec& codec, const OuterUpdate& update, Threads* threads) {
  const std::size_t n = update.agreed.size();
  check_lengths("apply_update", n, update.momentum.size());
  if (!update.local.empty()) check_lengths("apply_update", n, update.local.size());
  if (update.payloads.empty()) throw std::invalid_argument("apply_update: expected a payload, got none");
  const TileOps ops = tile_ops(active_target());
  std::mutex mutex;
  TileSums sums;
  for_ranges(threads, n, codec.block(), [&](std::size_t first, std::size_t count) {
    const TileSums part = apply_range(codec, ops, update, {first, count});
    const std::lock_guard lock(mutex);
    sums += part;
  });
  return sums;
}

TileSums measure(const Codec& codec, const CodedValues& own, std::span<const float> mean) {
  const TileOps ops = tile_ops(active_target());
  const std::size_t tile = tile_of(codec);
  TileBuffer values(tile);
  TileSums sums;
  for_tiles(tile, {0, mean.size()}, [&](std::size_t first, std::size_t count) {
    codec.decode_range(own.num_values, own.first + first, own.code, {values.data(), count});
    ops.add_measures(values.data(), mean.data() + first, count, sums);
  });
  return sums;
}

}  // namespace thinwire::quant
