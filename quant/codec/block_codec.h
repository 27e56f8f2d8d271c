// The one Codec: lays out a payload (scales first, then codes) and runs a format's loops over it.
#pragma once

#include "quant/codec/codec.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

class BlockCodec final : public Codec {
 public:
  // format must outlive the codec; those of the registry are static.
  // fast: loops for whole blocks that give the bytes of the reference, or null members to use the reference
  // only.
  BlockCodec(const Format& format, const BlockLoops& fast, const CodecOptions& options);

  std::string_view name() const override { return format_.name; }
  std::uint8_t wire_id() const override { return format_.wire_id; }
  std::size_t encoded_bytes(std::size_t n) const override;
  void encode_range(std::size_t n, std::size_t first, std::span<const float> values, std::uint64_t key,
                    std::span<std::byte> code) const override;
  void decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                    std::span<float> values) const override;
  void decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                        std::span<float> sum) const override;
  void slice(std::span<const std::byte> code, std::size_t n, const Range& range,
             std::span<std::byte> part) const override;

 private:
  std::size_t scale_bytes(std::size_t n) const;
  std::size_t code_bytes(std::size_t n) const;
  void check_size(std::size_t n, std::size_t code_size) const;
  void check_range(std::size_t n, const Range& range) const;

  // call(loops, run, offset in the payload of the run's first scale, of its first code) for the range's whole
  // blocks that the fast loops take, then for the rest, which is the reference's. key and rounding of the run
  // are left open.
  template <class Call>
  void for_each_run(std::size_t n, const Range& range, Call call) const;

  const Format& format_;
  BlockLoops fast_;
};

}  // namespace thinwire::quant
