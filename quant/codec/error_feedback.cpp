#include "quant/codec/error_feedback.h"

#include <stdexcept>
#include <string>

#include "quant/codec/outer_pass.h"
#include "quant/codec/tiles.h"
#include "quant/kernel/target.h"
#include "quant/kernel/tile_ops.h"

namespace thinwire::quant {

ErrorFeedback::ErrorFeedback(const Codec& codec, std::size_t num_values, float decay)
    : codec_(codec), decay_(decay), residual_(num_values) {
  if (!(decay >= 0 && decay <= 1)) {
    throw std::invalid_argument("error feedback: decay must lie in [0, 1], got " + std::to_string(decay));
  }
}

void ErrorFeedback::check_size(std::size_t num_values) const {
  if (num_values == residual_.size()) return;
  throw std::invalid_argument("error feedback: made for " + std::to_string(residual_.size()) +
                              " values, got " + std::to_string(num_values));
}

std::size_t ErrorFeedback::encode_delta(std::span<const float> agreed, std::span<const float> local,
                                        std::uint64_t key, std::span<std::byte> code, Threads* threads) {
  check_size(agreed.size());
  const DeltaSource source = {.agreed = agreed, .local = local, .residual = residual_, .decay = decay_};
  return quant::encode_delta(codec_, source, key, code, threads);
}

void ErrorFeedback::encode(std::span<float> delta, std::uint64_t key, std::span<std::byte> code) {
  check_size(delta.size());
  encode_range(0, delta, key, code);
}

void ErrorFeedback::encode_range(std::size_t first, std::span<float> delta, std::uint64_t key,
                                 std::span<std::byte> code) {
  const std::size_t n = residual_.size();
  if (first > n || delta.size() > n - first) {
    throw std::invalid_argument("error feedback: made for " + std::to_string(n) + " values, got " +
                                std::to_string(delta.size()) + " from value " + std::to_string(first) +
                                " on");
  }
  const TileOps ops = tile_ops(active_target());
  for_tiles(tile_of(codec_), {0, delta.size()}, [&](std::size_t begin, std::size_t count) {
    const auto values = delta.subspan(begin, count);
    const auto residual = std::span(residual_).subspan(first + begin, count);
    for (std::size_t i = 0; i < count; ++i) values[i] += decay_ * residual[i];
    codec_.encode_range(n, first + begin, values, key, code);
    codec_.decode_range(n, first + begin, code, residual);
    ops.keep_rest(values.data(), residual.data(), count);
  });
}

}  // namespace thinwire::quant
