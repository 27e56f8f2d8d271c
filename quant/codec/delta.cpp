// Codec::encode_delta_range of codecs without a loop of their own for it.
#include "quant/codec/codec.h"
#include "quant/codec/tiles.h"
#include "quant/kernel/target.h"
#include "quant/kernel/tile_ops.h"

namespace thinwire::quant {

std::size_t Codec::encode_delta_range(std::size_t n, std::size_t first, const DeltaSource& source,
                                      std::uint64_t key, std::span<std::byte> code) const {
  const TileOps ops = tile_ops(active_target());
  const std::size_t tile = tile_of(*this);
  TileBuffer value(tile);
  std::size_t nan = kNoNan;
  for_tiles(tile, {0, source.agreed.size()}, [&](std::size_t begin, std::size_t count) {
    if (nan != kNoNan) return;
    float* residual = source.residual.empty() ? nullptr : source.residual.data() + begin;
    if (ops.take_delta(source.agreed.data() + begin, source.local.data() + begin, residual, source.decay,
                       value.data(), count)) {
      nan = first + begin + find_nan({value.data(), count});
      return;
    }
    encode_range(n, first + begin, {value.data(), count}, key, code);
    if (residual == nullptr) return;
    decode_range(n, first + begin, code, {residual, count});
    ops.keep_rest(value.data(), residual, count);
  });
  return nan;
}

}  // namespace thinwire::quant
