#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

#include "quant/nn/sign_linear.h"
#include "tests/quant/nn_support.h"

namespace thinwire::quant {
namespace {

TEST(SignQuantizer, GradientIsClippedBeyondOneAndBothZerosArePositive) {
  const at::Tensor values = at::tensor({-1.5F, -1.0F, -0.5F, -0.0F, 0.0F, 0.5F, 1.0F, 1.5F}).view({1, 8});
  at::Tensor w = values.clone().requires_grad_();
  const at::Tensor result = sign_fake_quantize(w);
  result.backward(at::full({1, 8}, 2.0));
  const float scale = values.abs().mean().item<float>();
  EXPECT_TRUE(at::equal(
      result.detach(), at::tensor({-1.0F, -1.0F, -1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F}).view({1, 8}) * scale));
  EXPECT_TRUE(at::equal(w.grad(), at::tensor({0.0F, 2.0F, 2.0F, 2.0F, 2.0F, 2.0F, 2.0F, 0.0F}).view({1, 8})));
}

TEST(SignQuantizer, CustomFunctionEqualsTheCompositeForm) {
  const at::Tensor values = random_normal({5, 17}, 1), upstream = random_normal({5, 17}, 2);
  at::Tensor a = values.clone().requires_grad_(), b = values.clone().requires_grad_();
  const at::Tensor custom = sign_fake_quantize(a);
  const at::Tensor surrogate = b.clamp(-1, 1);
  const at::Tensor forward = at::where(b.ge(0), 1.0, -1.0) * b.abs().mean(1, true);
  const at::Tensor composite = surrogate + (forward - surrogate).detach();
  custom.backward(upstream);
  composite.backward(upstream);
  EXPECT_TRUE(at::allclose(custom, composite, 1e-6, 1e-6));
  EXPECT_TRUE(at::equal(a.grad(), b.grad()));
}

TEST(SignQuantizer, NanIsNegativeAndAZeroRowStaysZero) {
  EXPECT_FALSE(sign_bits(at::full({1}, std::numeric_limits<float>::quiet_NaN())).item<bool>());
  EXPECT_EQ(sign_fake_quantize(at::zeros({1, 4})).abs().max().item<float>(), 0);
}

TEST(SignLinear, PackedFormGivesTheSameOutputsBitForBit) {
  SignLinear layer(37, 19);
  at::Tensor weight = random_normal({19, 37}, 3);
  weight[0].zero_();
  weight[1].fill_(-0.0);
  set_parameter(layer, "weight", weight);
  PackedSignLinear deployed(37, 19);
  fill_buffers(deployed, layer.packed());
  const at::Tensor x = random_normal({2, 5, 37}, 4);
  EXPECT_TRUE(same_bits(layer.forward(x).detach(), deployed.forward(x)));
  EXPECT_TRUE(same_bits(layer.effective_weight(), deployed.effective_weight()));
  EXPECT_EQ(deployed.named_buffers()["codes"].numel(), 19 * 5);
  EXPECT_TRUE(deployed.parameters().empty());
}

}  // namespace
}  // namespace thinwire::quant
