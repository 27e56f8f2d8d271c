// A linear layer whose weight (one step per output channel) and input (one step) are quantised by LSQ, and
// its deployed form. Stored: bits per weight, a float32 step per channel, one float32 step for the input.
#pragma once

#include "quant/nn/low_bit_linear.h"

namespace thinwire::quant {

struct LsqOptions {
  int weight_bits = 4;      // 2, 4 or 8; 0: the weight stays float
  int activation_bits = 8;  // 2 to 8; 0: the input stays float
};

// Parameters: weight [out, in], weight_step [out], activation_step [1] (the steps only where they are used).
class LsqLinear final : public LowBitLinear {
 public:
  // The weight is zero and the activation step one: set the weight, then call start_weight_steps, then
  // calibrate.
  LsqLinear(std::int64_t in, std::int64_t out, const LsqOptions& options);

  at::Tensor forward(const at::Tensor& x) override;
  at::Tensor effective_weight() const override;
  std::vector<std::pair<std::string, at::Tensor>> packed() const override;

  void start_weight_steps();
  // The next forward sets the activation step from its input before it quantises it.
  void calibrate_next() { calibrating_ = options_.activation_bits > 0; }
  // Brings steps that an update drove below kMinLsqStep back to it.
  void clamp_steps();
  // How many steps clamp_steps has brought back since the last call, each counted once.
  std::int64_t take_clamped_steps();

 private:
  at::Tensor quantized_weight() const;

  LsqOptions options_;
  at::Tensor weight_, weight_step_, activation_step_;
  at::Tensor weight_step_clamped_, activation_step_clamped_;  // bool, of a step's shape; undefined: none
  bool calibrating_ = false;
};

// Buffers: codes uint8 [out, ceil(in * bits / 8)] of code + 2^(bits-1) (or weight, if it stays float),
// weight_step, activation_step (both above zero in what packed gives). The weight is dequantised anew in
// every forward, so no float copy stays in memory.
class PackedLsqLinear final : public LowBitLinear {
 public:
  PackedLsqLinear(std::int64_t in, std::int64_t out, const LsqOptions& options);

  at::Tensor forward(const at::Tensor& x) override;
  at::Tensor effective_weight() const override;
  std::vector<std::pair<std::string, at::Tensor>> packed() const override;

 private:
  LsqOptions options_;
  std::int64_t in_;
  at::Tensor weight_, codes_, weight_step_, activation_step_;
};

}  // namespace thinwire::quant
