#include "quant/kernel/target.h"

#include <hwy/targets.h>

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace thinwire::quant {
namespace {

struct TargetEntry {
  Target target;
  std::string_view name;
  std::int64_t highway_bit;  // 0: needs nothing of the processor
};

// From the slowest to the fastest.
constexpr std::array kTargets = {
    TargetEntry{Target::kScalar, "scalar", 0},    TargetEntry{Target::kSse4, "sse4", HWY_SSE4},
    TargetEntry{Target::kAvx2, "avx2", HWY_AVX2}, TargetEntry{Target::kAvx512, "avx512", HWY_AVX3},
    TargetEntry{Target::kNeon, "neon", HWY_NEON},
};

constexpr int kNotForced = -1;
thread_local int forced_target = kNotForced;

const TargetEntry& entry(Target target) {
  return kTargets[static_cast<std::size_t>(target)];
}

bool is_compiled(const TargetEntry& candidate) {
  return candidate.highway_bit == 0 || (HWY_TARGETS & candidate.highway_bit) != 0;
}

[[noreturn]] void refuse(std::string_view name) {
  std::string message = "SIMD target '";
  message.append(name).append("' is unknown or not supported by this processor; it has:");
  for (const TargetEntry& candidate : kTargets) {
    if (is_supported(candidate.target)) message.append(" ").append(candidate.name);
  }
  throw std::invalid_argument(message + " (THINWIRE_SIMD)");
}

Target best_target() {
  Target best = Target::kScalar;
  for (const TargetEntry& candidate : kTargets) {
    if (is_supported(candidate.target)) best = candidate.target;
  }
  return best;
}

Target process_target() {
  const char* name = std::getenv("THINWIRE_SIMD");
  return name == nullptr || *name == '\0' ? best_target() : parse_target(name);
}

}  // namespace

std::vector<Target> compiled_targets() {
  std::vector<Target> targets;
  for (const TargetEntry& candidate : kTargets) {
    if (is_compiled(candidate)) targets.push_back(candidate.target);
  }
  return targets;
}

bool is_supported(Target target) {
  const TargetEntry& candidate = entry(target);
  return candidate.highway_bit == 0 ||
         (is_compiled(candidate) && (hwy::SupportedTargets() & candidate.highway_bit) != 0);
}

std::string_view target_name(Target target) {
  return entry(target).name;
}

Target parse_target(std::string_view name) {
  for (const TargetEntry& candidate : kTargets) {
    if (candidate.name == name && is_supported(candidate.target)) return candidate.target;
  }
  refuse(name);
}

Target active_target() {
  if (forced_target != kNotForced) return static_cast<Target>(forced_target);
  static const Target target = process_target();
  return target;
}

ForcedTarget::ForcedTarget(Target target) : previous_(forced_target) {
  if (!is_supported(target)) refuse(target_name(target));
  forced_target = static_cast<int>(target);
}

ForcedTarget::~ForcedTarget() {
  forced_target = previous_;
}

}  // namespace thinwire::quant
