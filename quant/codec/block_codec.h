// The one Codec: lays out a payload (scales first, then codes) and runs a format's loops over it.
#pragma once

#include "quant/codec/codec.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

class BlockCodec final : public Codec {
 public:
  // format must outlive the codec; those of the registry are static.
  BlockCodec(const Format& format, std::size_t block, Rounding rounding);

  std::string_view name() const override { return format_.name; }
  std::uint8_t wire_id() const override { return format_.wire_id; }
  std::size_t encoded_bytes(std::size_t n) const override;
  void encode(std::span<const float> values, std::uint64_t key, std::span<std::byte> code) const override;
  void decode(std::span<const std::byte> code, std::span<float> values) const override;
  void decode_add(std::span<const std::byte> code, std::span<float> sum) const override;
  void slice(std::span<const std::byte> code, std::size_t n, const Range& range,
             std::span<std::byte> part) const override;

 private:
  std::size_t scale_bytes(std::size_t n) const;
  void check_sizes(std::size_t n, std::size_t code_size) const;

  const Format& format_;
};

}  // namespace thinwire::quant
