// A frozen weight kept only as a codec's payload, with trained low-rank factors beside it: QLoRA, Dettmers et
// al., arXiv 2305.14314, without double quantisation of the scales.
//
//   y = x W^T + (alpha / rank) (dropout(x) A^T) B^T,   W = decode(payload) rebuilt in every forward and
//   backward
//
// The backward pass needs no straight-through estimate: W is a constant. With g = dL/dy, c = alpha / rank:
// dL/dx = g W + c (g B) A, dL/dA = c (g B)^T x, dL/dB = c g^T (x A^T).
#pragma once

#include <ATen/core/Generator.h>

#include "quant/codec/codec.h"
#include "quant/nn/low_bit_linear.h"

namespace thinwire::quant {

struct LoraLinearOptions {
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;         // share of x dropped on the way to A, in training
  std::string codec = "nf4";  // of the frozen weight; values row by row, so blocks may straddle rows
  std::size_t block = 64;
};

// Parameters: lora_a [rank, in], lora_b [out, rank]. Buffer: base, uint8 [bytes], the payload.
class LoraLinear final : public LowBitLinear {
 public:
  // A is Kaiming-uniform, U(-1/sqrt(in), 1/sqrt(in)), drawn from `generator`; B is zero, so that the layer
  // starts as its base; the base is zero until set.
  LoraLinear(std::int64_t in, std::int64_t out, const LoraLinearOptions& options, at::Generator generator);

  // weight: float32 [out, in]; encoded, not kept.
  void set_base(const at::Tensor& weight);
  // Where dropout draws from; must be set before a training forward if dropout > 0.
  void set_dropout_generator(at::Generator generator) { dropout_generator_ = std::move(generator); }

  at::Tensor forward(const at::Tensor& x) override;
  // The base with the factors added.
  at::Tensor effective_weight() const override;
  // The layer is deployed as it is trained.
  std::vector<std::pair<std::string, at::Tensor>> packed() const override;

 private:
  at::Tensor dropped(const at::Tensor& x) const;

  LoraLinearOptions options_;
  std::int64_t in_, out_;
  std::shared_ptr<const Codec> codec_;  // shared with the graphs of running backward passes
  at::Tensor base_, lora_a_, lora_b_;
  at::Generator dropout_generator_;
};

}  // namespace thinwire::quant
