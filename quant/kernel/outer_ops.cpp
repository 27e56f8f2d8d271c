#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/outer_ops.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "hwy/highway.h"
#include "quant/kernel/dispatch.h"
#include "quant/kernel/outer_ops.h"
#include "quant/kernel/sweep-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void subtract(const float* a, const float* b, float* out, std::size_t n) {
  sweep(n, [=](auto d, std::size_t i)
               HWY_ATTR { hn::StoreU(hn::Sub(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i); });
}

void add(const float* a, const float* b, float* out, std::size_t n) {
  sweep(n, [=](auto d, std::size_t i)
               HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i); });
}

void scale(float* a, float factor, std::size_t n) {
  sweep(n, [=](auto d, std::size_t i)
               HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, a + i), hn::Set(d, factor)), d, a + i); });
}

void divide(float* a, float divisor, std::size_t n) {
  sweep(n, [=](auto d, std::size_t i)
               HWY_ATTR { hn::StoreU(hn::Div(hn::LoadU(d, a + i), hn::Set(d, divisor)), d, a + i); });
}

void nesterov(const NesterovRule& rule, const float* gradient, float* momentum, float* agreed,
              std::size_t n) {
  sweep(n, [=](auto d, std::size_t i) HWY_ATTR {
    const auto mu = hn::Set(d, rule.momentum);
    const auto g = hn::LoadU(d, gradient + i);
    const auto v = hn::Add(hn::Mul(mu, hn::LoadU(d, momentum + i)), g);
    const auto step = hn::Mul(hn::Set(d, rule.lr), hn::Add(g, hn::Mul(mu, v)));
    hn::StoreU(v, d, momentum + i);
    hn::StoreU(hn::Sub(hn::LoadU(d, agreed + i), step), d, agreed + i);
  });
}

void merge(float alpha, const float* agreed, float* local, std::size_t n) {
  const float beta = 1.0f - alpha;
  sweep(n, [=](auto d, std::size_t i) HWY_ATTR {
    const auto kept = hn::Mul(hn::Set(d, alpha), hn::LoadU(d, local + i));
    hn::StoreU(hn::Add(kept, hn::Mul(hn::Set(d, beta), hn::LoadU(d, agreed + i))), d, local + i);
  });
}

}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(subtract);
HWY_EXPORT(add);
HWY_EXPORT(scale);
HWY_EXPORT(divide);
HWY_EXPORT(nesterov);
HWY_EXPORT(merge);

// The form of `function` for this thread's target.
#define THINWIRE_ACTIVE(function) (*HWY_DISPATCH_TABLE(function)[table_index(active_target())])

namespace {

void check_lengths(const char* operation, std::size_t expected, std::size_t found) {
  if (expected == found) return;
  throw std::invalid_argument(std::string(operation) + ": spans of one call have one length, got " +
                              std::to_string(expected) + " and " + std::to_string(found));
}

}  // namespace

void outer_delta(std::span<const float> agreed, std::span<const float> local, std::span<float> out) {
  check_lengths("outer_delta", out.size(), agreed.size());
  check_lengths("outer_delta", out.size(), local.size());
  THINWIRE_ACTIVE(subtract)(agreed.data(), local.data(), out.data(), out.size());
}

void add_in_place(std::span<float> a, std::span<const float> b) {
  check_lengths("add_in_place", a.size(), b.size());
  THINWIRE_ACTIVE(add)(a.data(), b.data(), a.data(), a.size());
}

void subtract_in_place(std::span<float> a, std::span<const float> b) {
  check_lengths("subtract_in_place", a.size(), b.size());
  THINWIRE_ACTIVE(subtract)(a.data(), b.data(), a.data(), a.size());
}

void scale_in_place(std::span<float> a, float factor) {
  THINWIRE_ACTIVE(scale)(a.data(), factor, a.size());
}

void divide_in_place(std::span<float> sum, float contributors) {
  // By a power of two the product with the reciprocal is the quotient, bit for bit, and comes sooner. Far
  // from 1 the reciprocal would not be exact.
  int exponent = 0;
  if (std::frexp(contributors, &exponent) == 0.5f && std::abs(exponent) < 100) {
    THINWIRE_ACTIVE(scale)(sum.data(), 1.0f / contributors, sum.size());
  } else {
    THINWIRE_ACTIVE(divide)(sum.data(), contributors, sum.size());
  }
}

void nesterov_step(const NesterovRule& rule, std::span<const float> gradient, std::span<float> momentum,
                   std::span<float> agreed) {
  check_lengths("nesterov_step", agreed.size(), gradient.size());
  check_lengths("nesterov_step", agreed.size(), momentum.size());
  THINWIRE_ACTIVE(nesterov)(rule, gradient.data(), momentum.data(), agreed.data(), agreed.size());
}

void merge_into_local(float alpha, std::span<const float> agreed, std::span<float> local) {
  check_lengths("merge_into_local", local.size(), agreed.size());
  if (alpha == 0.0f) {  // a product with 0 would keep a -0 or spread an infinity of local
    std::copy(agreed.begin(), agreed.end(), local.begin());
  } else {
    THINWIRE_ACTIVE(merge)(alpha, agreed.data(), local.data(), local.size());
  }
}

}  // namespace thinwire::quant
#endif
