// The agreed arithmetic of the outer loop on float32 spans: the same bits on every instruction set.
// Each value is computed alone, in the stated order, without contraction. Spans of one call have one length
// and may not overlap unless they are the same span. Source: DiLoCo 2311.08105, Streaming DiLoCo 2501.18512,
// algorithm 2.
#pragma once

#include <span>

namespace thinwire::quant {

// out = agreed - local: a descent direction (old agreed copy minus drifted local parameters).
void outer_delta(std::span<const float> agreed, std::span<const float> local, std::span<float> out);

// a += b
void add_in_place(std::span<float> a, std::span<const float> b);

// a -= b
void subtract_in_place(std::span<float> a, std::span<const float> b);

// a = factor * a
void scale_in_place(std::span<float> a, float factor);

// sum = sum / contributors: the quotient, rounded once (no product with a rounded reciprocal).
void divide_in_place(std::span<float> sum, float contributors);

struct NesterovRule {
  float lr = 0.7f;
  float momentum = 0.9f;
};
// V = momentum * V + g;  G = G - lr * (g + momentum * V), as torch::optim::SGD with nesterov.
// With momentum 0 this is G = G - lr * g, and V = g.
void nesterov_step(const NesterovRule& rule, std::span<const float> gradient, std::span<float> momentum,
                   std::span<float> agreed);

// local = alpha * local + (1 - alpha) * agreed; alpha 0 copies agreed bit for bit.
void merge_into_local(float alpha, std::span<const float> agreed, std::span<float> local);

}  // namespace thinwire::quant
