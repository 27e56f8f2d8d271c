// Where the parts of a payload lie: the scales of all blocks, 4 bytes each, then the codes of all blocks,
// each from a whole byte on. What codecs that lay out a payload so have in common.
#pragma once

#include "quant/codec/codec.h"

namespace thinwire::quant {

class BlockLayoutCodec : public Codec {
 public:
  std::size_t encoded_bytes(std::size_t n) const final;
  void slice(std::span<const std::byte> code, std::size_t n, const Range& range,
             std::span<std::byte> part) const final;

 protected:
  BlockLayoutCodec(const CodecOptions& options, bool has_scale) : Codec(options), has_scale_(has_scale) {}

  // Bytes of the codes of one block of num_values <= block() values; 0 for none.
  virtual std::size_t block_code_bytes(std::size_t num_values) const = 0;

  // Of the first n values: their scales, their codes. n is a multiple of the block, or the payload's length.
  std::size_t scale_bytes(std::size_t n) const;
  std::size_t code_bytes(std::size_t n) const;

  // Throw std::invalid_argument.
  void check_size(std::size_t n, std::size_t code_size) const;
  void check_range(std::size_t n, const Range& range) const;

 private:
  const bool has_scale_;
};

}  // namespace thinwire::quant
