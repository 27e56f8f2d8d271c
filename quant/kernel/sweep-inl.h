// A loop over float32 values of any number.
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

}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SWEEP_INL_H_
