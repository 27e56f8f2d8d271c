// A codec behind a rotation: every block is turned by a randomised Hadamard transform before it is coded, and
// back after it is decoded. A few large values of a block become many middling ones, so that a scale with few
// levels fits them all (QuaRot, arXiv 2404.00456; here for the wire).
//
//   encode  y = H (d x 2^-ceil(p/2))       x limited to [-2^100, 2^100], block 2^p, d_j = +-1 by a hash of j
//   decode  x = d (H (y 2^-floor(p/2))) + 0     y decoded by the codec behind; the sum turns -0 into +0
//
// H is the Walsh-Hadamard matrix in natural order, applied in p passes of butterflies (a, b) -> (a + b, a -
// b) over distances 1, 2, 4, ..., 2^(p-1): every value of a pass is one float32 addition, so that the bits
// are the same everywhere. Both factors are powers of two, hence exact but for denormals; together they are
// 2^-p, which makes decode the inverse of encode but for the roundings of 2p additions. So fp32 is not
// lossless behind a rotation. (For odd p each factor alone is off orthonormal by sqrt(2), which the block's
// scale takes up.)
//
// A short last block is left as it is: it has no rotation of its own length. d depends on the place in the
// block only, so that a slice of a payload is a payload.
//
// Error: that of the codec behind, spread evenly over the block; its mean square is that of the rotated
// values' errors for even p, and twice that for odd p. Size, number and name: those of the codec behind; a
// flag in the wire header tells them apart.
#pragma once

#include "quant/codec/codec.h"

namespace thinwire::quant {

inline constexpr std::size_t kMaxRotatedBlock = 8192;  // 32 KiB: stays in the first cache, and on the stack

class RotatedCodec final : public Codec {
 public:
  // Has the options of inner. Throws std::invalid_argument unless their block is a power of two, at most
  // kMaxRotatedBlock.
  explicit RotatedCodec(std::unique_ptr<Codec> inner);

  std::string_view name() const override { return inner_->name(); }
  std::uint8_t wire_id() const override { return inner_->wire_id(); }
  std::size_t encoded_bytes(std::size_t n) const override { return inner_->encoded_bytes(n); }
  void encode_range(std::size_t n, std::size_t first, std::span<const float> values, std::uint64_t key,
                    std::span<std::byte> code) const override;
  void decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                    std::span<float> values) const override;
  void decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                        std::span<float> sum) const override;
  void slice(std::span<const std::byte> code, std::size_t n, const Range& range,
             std::span<std::byte> part) const override {
    inner_->slice(code, n, range, part);
  }

 private:
  // The whole blocks at the beginning of values, in place; what is left over stays.
  void rotate(std::span<float> values) const;
  void rotate_back(std::span<float> values) const;

  const std::unique_ptr<Codec> inner_;
  std::vector<float> signs_;  // d, of a block
  float factor_ = 1;          // of encode
  float inverse_factor_ = 1;  // of decode
};

}  // namespace thinwire::quant
