// A linear layer with a one-bit weight: mean|w| of the output channel times sign(w), and its deployed form.
// After XNOR-Net, Rastegari et al., arXiv 1603.05279, for weights only. Stored: one bit per weight, a float32
// per channel.
//
// sign(v) is +1 for v >= 0 (both zeros) and -1 else: two values, as one bit needs. The gradient is the
// clipped straight-through estimate, g where |w| <= 1 and 0 beyond; as in XNOR-Net's code the scale is a
// constant of it and does not multiply it, because the product stands for w itself.
#pragma once

#include "quant/nn/low_bit_linear.h"

namespace thinwire::quant {

// bool, true for +1. NaN gives false.
at::Tensor sign_bits(const at::Tensor& v);
// mean|w| of each row: float32 [rows, 1].
at::Tensor sign_scale(const at::Tensor& w);
// scale where the bit is set, else -scale. Training and deployment both come through here.
at::Tensor sign_dequantize(const at::Tensor& bits, const at::Tensor& scale);
// sign_dequantize of w's own bits and scale, with the clipped straight-through gradient. w: float32 [out,
// in].
at::Tensor sign_fake_quantize(const at::Tensor& w);

// Parameter: weight [out, in], the latent weight, zero until set.
class SignLinear final : public LowBitLinear {
 public:
  SignLinear(std::int64_t in, std::int64_t out);

  at::Tensor forward(const at::Tensor& x) override;
  at::Tensor effective_weight() const override;
  std::vector<std::pair<std::string, at::Tensor>> packed() const override;

 private:
  at::Tensor weight_;
};

// Buffers: codes uint8 [out, ceil(in / 8)], a set bit for +1; scale float32 [out, 1].
class PackedSignLinear final : public LowBitLinear {
 public:
  PackedSignLinear(std::int64_t in, std::int64_t out);

  at::Tensor forward(const at::Tensor& x) override;
  at::Tensor effective_weight() const override;
  std::vector<std::pair<std::string, at::Tensor>> packed() const override;

 private:
  std::int64_t in_;
  at::Tensor codes_, scale_;
};

}  // namespace thinwire::quant
