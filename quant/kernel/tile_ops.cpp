#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/tile_ops.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include "hwy/highway.h"
#include "quant/kernel/dispatch.h"
#include "quant/kernel/sweep-inl.h"
#include "quant/kernel/tile_ops.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <bool kFeedback>
bool take_delta_of(const float* agreed, const float* local, const float* residual, float decay, float* value,
                   std::size_t n) {
  std::size_t num_nan = 0;
  sweep(n, [&](auto d, std::size_t i) HWY_ATTR {
    ask_soon(agreed + i);
    ask_soon(local + i);
    auto v = hn::Sub(hn::LoadU(d, agreed + i), hn::LoadU(d, local + i));
    if constexpr (kFeedback) {
      ask_soon_to_change(const_cast<float*>(residual) + i);
      v = hn::Add(v, hn::Mul(hn::Set(d, decay), hn::LoadU(d, residual + i)));
    }
    hn::StoreU(v, d, value + i);
    num_nan += !hn::AllTrue(d, hn::Eq(v, v));
  });
  return num_nan > 0;
}

bool take_delta(const float* agreed, const float* local, const float* residual, float decay, float* value,
                std::size_t n) {
  return residual == nullptr ? take_delta_of<false>(agreed, local, nullptr, 0, value, n)
                             : take_delta_of<true>(agreed, local, residual, decay, value, n);
}

void keep_rest(const float* value, float* residual, std::size_t n) {
  sweep(n, [=](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(hn::Sub(hn::LoadU(d, value + i), hn::LoadU(d, residual + i)), d, residual + i);
  });
}

template <bool kKeepsLocal>
void update_of(const UpdateRule& rule, float* mean, float* momentum, float* agreed, float* local,
               std::size_t n) {
  const float mu = rule.nesterov.momentum, lr = rule.nesterov.lr, alpha = rule.alpha;
  const float contributors = rule.contributors;
  sweep(n, [=](auto d, std::size_t i) HWY_ATTR {
    ask_soon_to_change(momentum + i);
    ask_soon_to_change(agreed + i);
    ask_soon_to_change(local + i);
    const auto g = hn::Div(hn::LoadU(d, mean + i), hn::Set(d, contributors));
    const auto v = hn::Add(hn::Mul(hn::Set(d, mu), hn::LoadU(d, momentum + i)), g);
    const auto step = hn::Mul(hn::Set(d, lr), hn::Add(g, hn::Mul(hn::Set(d, mu), v)));
    const auto stepped = hn::Sub(hn::LoadU(d, agreed + i), step);
    hn::StoreU(g, d, mean + i);
    hn::StoreU(v, d, momentum + i);
    hn::StoreU(stepped, d, agreed + i);
    if constexpr (kKeepsLocal) {
      const auto kept = hn::Mul(hn::Set(d, alpha), hn::LoadU(d, local + i));
      hn::StoreU(hn::Add(kept, hn::Mul(hn::Set(d, 1.0f - alpha), stepped)), d, local + i);
    } else {
      hn::StoreU(stepped, d, local + i);
    }
  });
}

void update(const UpdateRule& rule, float* mean, float* momentum, float* agreed, float* local,
            std::size_t n) {
  rule.alpha == 0 ? update_of<false>(rule, mean, momentum, agreed, local, n)
                  : update_of<true>(rule, mean, momentum, agreed, local, n);
}

// In eight partial sums, so that the sums of a tile are the same on every target.
void add_measures(const float* own, const float* mean, std::size_t n, TileSums& sums) {
  constexpr std::size_t kParts = 8;
  double own_square[kParts] = {}, mean_square[kParts] = {}, product[kParts] = {};
  const auto add = [&](std::size_t k, double a, double b) {
    own_square[k] += a * a;
    mean_square[k] += b * b;
    product[k] += a * b;
  };
  const std::size_t whole = n - n % kParts;
  for (std::size_t i = 0; i < whole; i += kParts)
    for (std::size_t k = 0; k < kParts; ++k) add(k, own[i + k], mean[i + k]);
  for (std::size_t i = whole; i < n; ++i) add(i - whole, own[i], mean[i]);
  for (std::size_t k = 0; k < kParts; ++k) {
    sums.own_square += own_square[k];
    sums.mean_square += mean_square[k];
    sums.product += product[k];
  }
}

TileOps ops() {
  return {
      .take_delta = &take_delta, .keep_rest = &keep_rest, .update = &update, .add_measures = &add_measures};
}

}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(ops);

TileOps tile_ops(Target target) {
  return HWY_DISPATCH_TABLE(ops)[table_index(target)]();
}

}  // namespace thinwire::quant
#endif
