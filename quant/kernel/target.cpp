#include "quant/kernel/target.h"

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "quant/kernel/dispatch.h"

namespace thinwire::quant {
namespace {

struct NamedTarget {
  Target target;
  std::string_view name;
};

// From the slowest to the fastest; a processor has either the x86 ones or NEON.
constexpr std::array kTargets = {
    NamedTarget{Target::kScalar, "scalar"},
    NamedTarget{Target::kSse4, "sse4"},
    NamedTarget{Target::kAvx2, "avx2"},
    NamedTarget{Target::kAvx512, "avx512"},
    NamedTarget{Target::kAvx512Vbmi, "avx512_vbmi"},
    NamedTarget{Target::kNeon, "neon"},
};

constexpr int kNotForced = -1;
thread_local int forced_target = kNotForced;

bool is_compiled(Target target) {
  return target == Target::kScalar || (HWY_TARGETS & highway_bit(target)) != 0;
}

[[noreturn]] void refuse(std::string_view name) {
  std::string message = "SIMD target '";
  message.append(name).append("' is unknown or not supported by this processor; it has:");
  for (const NamedTarget& candidate : kTargets) {
    if (is_supported(candidate.target)) message.append(" ").append(candidate.name);
  }
  throw std::invalid_argument(message + " (THINWIRE_SIMD)");
}

Target best_target() {
  Target best = Target::kScalar;
  for (const NamedTarget& candidate : kTargets) {
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
  for (const NamedTarget& candidate : kTargets) {
    if (is_compiled(candidate.target)) targets.push_back(candidate.target);
  }
  return targets;
}

bool is_supported(Target target) {
  return target == Target::kScalar ||
         (is_compiled(target) && (hwy::SupportedTargets() & highway_bit(target)) != 0);
}

std::string_view target_name(Target target) {
  return kTargets[static_cast<std::size_t>(target)].name;
}

Target parse_target(std::string_view name) {
  for (const NamedTarget& candidate : kTargets) {
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
