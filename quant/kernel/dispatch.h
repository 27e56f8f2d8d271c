// From a Target to the entry of a table that HWY_EXPORT made.
#pragma once

#include <hwy/targets.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "quant/kernel/target.h"

namespace thinwire::quant {

// The Highway bit of a target other than kScalar.
constexpr std::int64_t highway_bit(Target target) {
  switch (target) {
    case Target::kSse4:
      return HWY_SSE4;
    case Target::kAvx2:
      return HWY_AVX2;
    case Target::kAvx512:
      return HWY_AVX3;
    case Target::kAvx512Vbmi:
      return HWY_AVX3_DL;
    case Target::kNeon:
      return HWY_NEON;
    case Target::kScalar:
      break;
  }
  return 0;
}

// A build for a single target (NEON) makes tables of one entry. Highway's own scalar form is the last entry.
constexpr std::size_t table_index(Target target) {
  if constexpr ((HWY_TARGETS & (HWY_TARGETS - 1)) == 0) return 0;
  if (target == Target::kScalar) return HWY_MAX_DYNAMIC_TARGETS + 1;
  return static_cast<std::size_t>(
      std::countr_zero(static_cast<std::uint64_t>(HWY_CHOSEN_TARGET_SHIFT(highway_bit(target)))));
}

}  // namespace thinwire::quant
