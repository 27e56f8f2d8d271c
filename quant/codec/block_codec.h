// The Codec of every format that codes all values: runs its loops over a payload.
#pragma once

#include "quant/codec/block_layout.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

class BlockCodec final : public BlockLayoutCodec {
 public:
  // format must outlive the codec; those of the registry are static.
  // fast: loops for whole blocks that give the bytes of the reference, or null members to use the reference
  // only.
  BlockCodec(const Format& format, const BlockLoops& fast, const CodecOptions& options);

  std::string_view name() const override { return format_.name; }
  std::uint8_t wire_id() const override { return format_.wire_id; }
  void encode_range(std::size_t n, std::size_t first, std::span<const float> values, std::uint64_t key,
                    std::span<std::byte> code) const override;
  void decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                    std::span<float> values) const override;
  void decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                        std::span<float> sum) const override;
  std::size_t encode_delta_range(std::size_t n, std::size_t first, const DeltaSource& source,
                                 std::uint64_t key, std::span<std::byte> code) const override;

 private:
  std::size_t block_code_bytes(std::size_t num_values) const override;

  // call(loops, run, offset in the payload of the run's first scale, of its first code) for the range's whole
  // blocks that the fast loops take, then for the rest, which is the reference's. key and rounding of the run
  // are left open.
  template <class Call>
  void for_each_run(std::size_t n, const Range& range, Call call) const;

  const Format& format_;
  BlockLoops fast_;
};

}  // namespace thinwire::quant
