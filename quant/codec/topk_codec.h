// topk: of every chunk of 4096 values the k largest magnitudes, each as a 12-bit index and 2 bits; the others
// are 0. SparseLoCo (arXiv 2508.15706), whose chunks, indices and bits a value these are; the two levels of a
// chunk are ours. Made for error feedback with gathered codes (comm/mean.h): what a chunk drops waits for the
// next payload.
//
// A chunk of m values keeps q = ceil(k m / 4096), so that a short last one is as dense as the others; of
// equal magnitudes those of the lower indices. The chunk is the block: block() is 4096, whatever the options
// say.
//
// In the place of the scale stand two magnitudes, low and high, as bf16, 2 bytes each. A value's code: bit 0
// for high, bit 1 for a negative value. To nearest, low is the mean of the kept magnitudes up to their mean,
// high of those above it. Stochastic, both cover the kept: low is the least of them rounded down, high the
// largest rounded up. Each then becomes 0 if it is below 2^-126, before a value's level is chosen. A zero
// that is kept becomes low as others do.
//
// Error of a kept magnitude a: nearest the distance to the nearer of low and high; stochastic high - low, and
// unbiased, or a itself where both became 0. A dropped value's is the value, at most the least kept
// magnitude.
//
// Size, with b = ceil(n / 4096) chunks: 4b bytes, and ceil(3q / 2) + ceil(q / 4) for each. k 64: 0.0283 bytes
// a value.
#pragma once

#include "quant/codec/block_layout.h"

namespace thinwire::quant {

inline constexpr std::size_t kTopkChunk = 4096;
inline constexpr std::uint8_t kTopkWireId = 13;

// Whether the codec drops values, so that the mean of decoded payloads must not be coded once more.
inline bool is_sparse(const Codec& codec) {
  return codec.wire_id() == kTopkWireId;
}

class TopkCodec final : public BlockLayoutCodec {
 public:
  // options.k: 1 to 4096, no rotation; std::invalid_argument otherwise. options.block is not looked at.
  explicit TopkCodec(const CodecOptions& options);

  std::string_view name() const override { return "topk"; }
  std::uint8_t wire_id() const override { return kTopkWireId; }
  void encode_range(std::size_t n, std::size_t first, std::span<const float> values, std::uint64_t key,
                    std::span<std::byte> code) const override;
  void decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                    std::span<float> values) const override;
  // Touches the kept values only: a -0 in the sum stays -0 where nothing was kept.
  void decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                        std::span<float> sum) const override;

 private:
  std::size_t block_code_bytes(std::size_t num_values) const override;
  std::size_t num_kept(std::size_t num_values) const;

  // call(offset of the chunk in the range, its length, offset in the payload of its levels, of its codes)
  template <class Call>
  void for_each_chunk(std::size_t n, const Range& range, Call call) const;
};

}  // namespace thinwire::quant
