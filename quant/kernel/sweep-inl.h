// A loop over float32 values of any number, and the memory of those that come next.
#if defined(THINWIRE_KERNEL_SWEEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_SWEEP_INL_H_
#undef THINWIRE_KERNEL_SWEEP_INL_H_
#else
#define THINWIRE_KERNEL_SWEEP_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// step(tag, i) handles the values from i on, as many as the tag has lanes; the last ones go one by one, by
// the same step and so the same roundings.
template <class Step>
HWY_INLINE void sweep(std::size_t n, Step step) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) step(d, i);
  for (; i < n; ++i) step(one, i);
}

// For sweeps over several arrays at once: ask the first cache for what the sweep will read, or read and
// write, 40 lines later; further ahead, the arrays would push each other out. Past the end of a span these do
// nothing.
constexpr std::size_t kSoon = 640;  // values
HWY_INLINE void ask_soon(const float* p) {
  __builtin_prefetch(p + kSoon, 0, 3);
}
HWY_INLINE void ask_soon_to_change(float* p) {
#if HWY_ARCH_X86
  asm volatile("prefetchw %0" : : "m"(*(p + kSoon)));  // the builtin becomes a prefetch for reading
#else
  __builtin_prefetch(p + kSoon, 1, 3);
#endif
}

}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SWEEP_INL_H_
