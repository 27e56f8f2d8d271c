#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quant/nn/low_bit_linear.h"
#include "quant/nn/lsq_linear.h"
#include "quant/nn/lsq_quantizer.h"
#include "tests/quant/nn_support.h"

namespace thinwire::quant {
namespace {

// The autograd form of LSQ (arXiv 1902.08153, section 2), which the custom function must equal.
at::Tensor composite_lsq(const at::Tensor& v, const at::Tensor& step, int bits,
                         std::int64_t values_per_step) {
  const auto [lowest, highest] = lsq_range(bits);
  const double scale = 1 / std::sqrt(static_cast<double>(values_per_step) * highest);
  const at::Tensor scaled = step * scale + (step - step * scale).detach();
  const at::Tensor clamped = (v / scaled).clamp(lowest, highest);
  return (clamped + (clamped.round() - clamped).detach()) * scaled;
}

TEST(LsqQuantizer, GradientsFollowTheClosedFormsInsideBelowAboveAndAtTheEdges) {
  constexpr double kStep = 0.375;  // exact, so that the edges are hit
  constexpr std::int64_t kValues = 5;
  for (const int bits : {2, 3, 4, 8}) {
    const auto [lowest, highest] = lsq_range(bits);
    const double ratios[] = {lowest - 1, lowest, lowest + 0.3, 0.4, 0.6, highest, highest + 1};
    for (const double ratio : ratios) {
      SCOPED_TRACE(testing::Message() << bits << " bits, v/s = " << ratio);
      at::Tensor step = at::full({1}, kStep).requires_grad_();
      at::Tensor v = (at::full({1}, ratio) * step.detach()).requires_grad_();
      lsq_fake_quantize(v, step, bits, kValues).backward(at::full({1}, 3.0));

      const bool inside = ratio > lowest && ratio < highest;
      const double by_step = ratio <= lowest    ? lowest
                             : ratio >= highest ? highest
                                                : std::round(ratio) - ratio;
      const double scale = 1 / std::sqrt(kValues * highest);
      EXPECT_EQ(v.grad().item<float>(), inside ? 3.0F : 0.0F);
      EXPECT_NEAR(step.grad().item<double>(), 3 * by_step * scale, 1e-6 * std::max(1.0, highest));
    }
  }
}

TEST(LsqQuantizer, CustomFunctionEqualsTheCompositeForm) {
  const at::Tensor values = random_normal({7, 33}, 1);
  const at::Tensor upstream = random_normal({7, 33}, 2);
  const at::Tensor row_steps = random_normal({7, 1}, 3).abs() * 0.1 + 0.05;
  for (const at::Tensor& start : {row_steps, at::full({1}, 0.21)}) {
    const auto run = [&](auto&& quantize) {
      at::Tensor v = values.clone().requires_grad_(), step = start.clone().requires_grad_();
      const at::Tensor result = quantize(v, step, 4, 33);
      result.backward(upstream);
      return std::vector<at::Tensor>{result.detach(), v.grad(), step.grad()};
    };
    const auto custom = run(lsq_fake_quantize), composite = run(composite_lsq);
    EXPECT_TRUE(at::allclose(custom[0], composite[0], 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(custom[1], composite[1], 1e-6, 0));
    EXPECT_TRUE(at::allclose(custom[2], composite[2], 1e-4, 1e-5)) << custom[2] << composite[2];
  }
}

TEST(LsqQuantizer, DescentOnTheStepAloneFindsNearlyTheBestStepOfAGaussian) {
  const at::Tensor v = random_normal({8192}, 4);
  const auto error = [&](double step, int bits) {
    const at::Tensor s = at::full({1}, step);
    return (v - lsq_dequantize(lsq_codes(v, s, bits), s)).square().mean().item<double>();
  };
  struct FixedPoint {
    int bits;
    double step, tolerance;  // of one sample; with 8 bits its largest value shifts the step
  };
  for (const auto& [bits, fixed_point, tolerance] :
       {FixedPoint{2, 1.10, 0.05}, {3, 0.594, 0.05}, {4, 0.328, 0.05}, {8, 0.030, 0.2}}) {
    double best = std::numeric_limits<double>::max();
    for (double step = 0.7 * fixed_point; step < 1.3 * fixed_point; step *= 1.01) {
      best = std::min(best, error(step, bits));
    }
    for (const double start : {0.25, 1.0, 4.0}) {
      SCOPED_TRACE(testing::Message() << bits << " bits, from " << start << " x the initial step");
      at::Tensor step = (lsq_initial_step(v, bits) * start).requires_grad_();
      for (double rate = 0.1; rate > 1e-3; rate *= 0.97) {
        (v - lsq_fake_quantize(v, step, bits, v.numel())).square().sum().backward();
        const at::NoGradGuard no_grad;
        step.mul_(at::exp(-rate * step.grad().sign()));
        step.mutable_grad().reset();
      }
      const double found = step.item<double>();
      EXPECT_LT(error(found, bits), 1.02 * best) << found;
      EXPECT_NEAR(found, fixed_point, tolerance * fixed_point);
    }
  }
}

TEST(LsqQuantizer, ZeroMapsToPositiveZeroAndCodesStayInRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  const at::Tensor v = at::tensor({0.0F, -0.0F, -0.2F, 1e30F, -1e30F, infinity, -infinity, 1e-42F});
  for (int bits = 2; bits <= 8; ++bits) {
    for (const float step : {1.0F, 0.0F, -3.0F}) {  // steps that an update drove to zero and beyond
      const at::Tensor s = at::full({1}, step);
      const at::Tensor codes = lsq_codes(v, s, bits);
      const auto [lowest, highest] = lsq_range(bits);
      EXPECT_EQ(codes.max().item<double>(), highest);
      EXPECT_EQ(codes.min().item<double>(), lowest);
      const at::Tensor zeros = lsq_dequantize(codes, s).narrow(0, 0, 2);
      EXPECT_TRUE(same_bits(zeros, at::zeros({2}))) << zeros;
    }
  }
  EXPECT_TRUE(same_bits(lsq_dequantize(lsq_codes(v.narrow(0, 2, 1), at::ones({1}), 4), at::ones({1})),
                        at::zeros({1})));
}

TEST(LsqQuantizer, TiesGoToTheEvenCode) {
  const at::Tensor codes = lsq_codes(at::tensor({0.5F, 1.5F, 2.5F, -0.5F, -1.5F}), at::ones({1}), 4);
  EXPECT_TRUE(at::equal(codes.to(at::kInt), at::tensor({0, 2, 2, 0, -2}, at::kInt)));
}

TEST(LsqQuantizer, RefusesBitsOutOfRange) {
  EXPECT_THROW(lsq_range(1), c10::Error);
  EXPECT_THROW(lsq_range(9), c10::Error);
}

TEST(PackRows, RoundTripsEveryWidthAndRefusesAnotherShape) {
  for (const int bits : {1, 2, 4, 8}) {
    for (const std::int64_t columns : {1, 7, 8, 13}) {
      const at::Tensor codes =
          at::arange(3 * columns).mul_(7).remainder_(1 << bits).view({3, columns}).to(at::kByte);
      const at::Tensor packed = pack_rows(codes, bits);
      EXPECT_EQ(packed.numel(), 3 * ((columns * bits + 7) / 8));
      EXPECT_TRUE(at::equal(unpack_rows(packed, bits, columns), codes)) << bits << " bits, " << columns;
    }
  }
  EXPECT_THROW(unpack_rows(at::zeros({2, 2}, at::kByte), 4, 5), c10::Error);
  EXPECT_THROW(pack_rows(at::zeros({2, 2}, at::kByte), 3), c10::ValueError);
}

TEST(LsqLinear, PackedFormGivesTheSameOutputsBitForBit) {
  for (const LsqOptions options :
       {LsqOptions{4, 8}, LsqOptions{2, 8}, LsqOptions{8, 4}, LsqOptions{4, 0}, LsqOptions{0, 8}}) {
    SCOPED_TRACE(testing::Message() << options.weight_bits << "/" << options.activation_bits);
    LsqLinear layer(37, 19, options);
    set_parameter(layer, "weight", random_normal({19, 37}, 5) * 0.02);
    layer.start_weight_steps();
    layer.calibrate_next();
    const at::Tensor x = random_normal({2, 5, 37}, 6);
    layer.forward(x);

    PackedLsqLinear deployed(37, 19, options);
    fill_buffers(deployed, layer.packed());
    EXPECT_TRUE(same_bits(layer.forward(x).detach(), deployed.forward(x)));
    EXPECT_TRUE(same_bits(layer.effective_weight(), deployed.effective_weight()));
    EXPECT_EQ(deployed.packed().size(), layer.packed().size());
    EXPECT_TRUE(deployed.parameters().empty());
  }
}

TEST(LsqLinear, CalibrationSetsTheActivationStepOnceFromItsInput) {
  LsqLinear layer(8, 4, {});
  const at::Tensor x = random_normal({3, 8}, 7), other = x * 5;
  layer.calibrate_next();
  layer.forward(x);
  layer.forward(other);
  const at::Tensor step = layer.named_parameters()["activation_step"];
  EXPECT_TRUE(at::equal(step, lsq_initial_step(x, 8)));
}

TEST(LsqLinear, WeightStepsStartFromTheirOwnChannel) {
  LsqLinear layer(64, 2, {});
  const at::Tensor row = random_normal({1, 64}, 8);
  set_parameter(layer, "weight", at::cat({row, row * 3}));
  layer.start_weight_steps();
  const at::Tensor steps = layer.named_parameters()["weight_step"].detach();
  EXPECT_NEAR((steps[1] / steps[0]).item<double>(), 3, 1e-5);
  EXPECT_NEAR(steps[0].item<double>(), 2 * row.abs().mean().item<double>() / std::sqrt(7.0), 1e-6);
}

TEST(LsqLinear, ClampBringsStepsThatCrossedZeroBack) {
  LsqLinear layer(4, 2, {});
  set_parameter(layer, "weight_step", at::tensor({-1.0F, 0.5F}));
  layer.clamp_steps();
  EXPECT_TRUE(at::equal(layer.named_parameters()["weight_step"],
                        at::tensor({static_cast<float>(kMinLsqStep), 0.5F})));
}

TEST(LsqLinear, CountsEachStepThatWasBroughtBackOnce) {
  LsqLinear layer(4, 3, {});
  EXPECT_EQ(layer.take_clamped_steps(), 0);
  for (const at::Tensor& steps : {at::tensor({-1.0F, 0.5F, 0.0F}), at::tensor({-2.0F, 0.5F, 0.1F})}) {
    set_parameter(layer, "weight_step", steps);
    layer.clamp_steps();
    layer.clamp_steps();  // what lies on the least is not below it
  }
  set_parameter(layer, "activation_step", at::tensor({-1.0F}));
  layer.clamp_steps();
  EXPECT_EQ(layer.take_clamped_steps(), 3);
  EXPECT_EQ(layer.take_clamped_steps(), 0);
}

TEST(LsqLinear, HandsOutTheStepsThatItComputesWith) {
  const at::Tensor x = random_normal({2, 5, 8}, 9);
  LsqLinear layer(8, 3, {});
  set_parameter(layer, "weight", random_normal({3, 8}, 10));
  set_parameter(layer, "weight_step", at::tensor({-0.1F, 0.2F, 0.0F}));
  set_parameter(layer, "activation_step", at::tensor({-0.1F}));
  PackedLsqLinear deployed(8, 3, {});
  fill_buffers(deployed, layer.packed());
  for (const auto& buffer : deployed.named_buffers()) {
    if (buffer.key() == "codes") continue;
    EXPECT_GT(buffer.value().min().item<float>(), 0) << buffer.key();
  }
  EXPECT_TRUE(same_bits(layer.forward(x).detach(), deployed.forward(x)));

  // As a file of before may hold it.
  fill_buffers(deployed, {{"weight_step", at::tensor({-0.1F, 0.2F, 0.0F})}});
  for (const auto& [name, tensor] : deployed.packed()) {
    if (name == "codes") continue;
    EXPECT_GT(tensor.min().item<float>(), 0) << name;
  }
}

}  // namespace
}  // namespace thinwire::quant
