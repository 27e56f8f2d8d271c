#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "launch/bench/memory_limits.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include "hwy/highway.h"
#include "launch/bench/memory_limits.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::launch::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kLine = 16, kAhead = 4096;  // values

template <bool kPrefetch>
HWY_INLINE void ask_for(const float* values) {
  if constexpr (kPrefetch) __builtin_prefetch(values + kAhead, 0, 2);
}

// Four sums, so that additions do not wait for each other.
template <bool kPrefetch>
float read(const float* values, std::size_t n) {
  const hn::ScalableTag<float> d;
  constexpr std::size_t kSums = 4;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (std::size_t i = 0; i + kSums * kLine <= n; i += kSums * kLine) {
    for (std::size_t k = 0; k < kSums * kLine; k += kLine) ask_for<kPrefetch>(values + i + k);
    for (std::size_t k = 0; k < kSums * kLine; k += kSums * lanes) {
      const float* from = values + i + k;
      a = hn::Add(a, hn::LoadU(d, from));
      b = hn::Add(b, hn::LoadU(d, from + lanes));
      c = hn::Add(c, hn::LoadU(d, from + 2 * lanes));
      e = hn::Add(e, hn::LoadU(d, from + 3 * lanes));
    }
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (std::size_t i = n / (kSums * kLine) * (kSums * kLine); i < n; ++i) sum += values[i];
  return sum;
}

template <bool kPrefetch>
void change(const float* b, float* a, std::size_t n) {
  const hn::ScalableTag<float> d;
  const auto half = hn::Set(d, 0.5f);
  std::size_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    ask_for<kPrefetch>(b + i);
    ask_for<kPrefetch>(a + i);
    for (std::size_t k = i; k < i + kLine; k += hn::Lanes(d)) {
      hn::StoreU(hn::Add(hn::LoadU(d, b + k), hn::Mul(half, hn::LoadU(d, a + k))), d, a + k);
    }
  }
  for (; i < n; ++i) a[i] = b[i] + 0.5f * a[i];
}

float read_values(const float* values, std::size_t n, Prefetch prefetch) {
  return prefetch == Prefetch::kAhead ? read<true>(values, n) : read<false>(values, n);
}

void change_values(const float* b, float* a, std::size_t n, Prefetch prefetch) {
  prefetch == Prefetch::kAhead ? change<true>(b, a, n) : change<false>(b, a, n);
}

}  // namespace thinwire::launch::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::launch {

HWY_EXPORT(read_values);
HWY_EXPORT(change_values);

float read_all(std::span<const float> values, Prefetch prefetch) {
  return HWY_DYNAMIC_DISPATCH(read_values)(values.data(), values.size(), prefetch);
}

void triad(std::span<const float> b, std::span<float> a, Prefetch prefetch) {
  HWY_DYNAMIC_DISPATCH(change_values)(b.data(), a.data(), a.size(), prefetch);
}

}  // namespace thinwire::launch
#endif
