// Codes a payload a range at a time into messages of their own: part = the range's slice of the whole
// payload.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "comm/transport.h"
#include "quant/codec/codec.h"

namespace thinwire::comm {

class PartEncoder {
 public:
  // num_values: of the whole payload.
  PartEncoder(std::shared_ptr<const quant::Codec> codec, std::size_t num_values, std::uint64_t key)
      : codec_(std::move(codec)), num_values_(num_values), key_(key) {}

  // values: those of the range.
  void encode(const quant::Range& range, std::span<const float> values, std::span<std::byte> part) {
    // To nearest a value's code does not depend on its offset, so that the part is the payload of its values.
    if (codec_->rounding() == quant::Rounding::kNearest) return codec_->encode(values, key_, part);
    whole_.resize(codec_->encoded_bytes(num_values_));
    codec_->encode_range(num_values_, range.first, values, key_, whole_);
    codec_->slice(whole_, num_values_, range, part);
  }

 private:
  std::shared_ptr<const quant::Codec> codec_;
  std::size_t num_values_;
  std::uint64_t key_;
  Buffer whole_;  // as far as it was coded; empty when rounding to nearest
};

}  // namespace thinwire::comm
