// What a user is told of a run before its first step.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "trainer/plan.h"

namespace thinwire::launch {

// Where the workers will be.
struct PlanPlace {
  int workers = 1;
  int workers_here = 1;        // of them on this machine; 0: not known
  bool own_processes = false;  // else they are threads of one
  std::optional<std::uint64_t>
      available{};  // bytes on this machine; nothing where they are not known, or not counted
};

// Several lines, none ended.
std::string plan_text(const trainer::RunPlan& plan, const PlanPlace& place);
nlohmann::json plan_json(const trainer::RunPlan& plan, const PlanPlace& place);

// Throws UsageError with the figures if what the workers here surely hold at once is more than there is. What
// may fit is never refused.
void require_memory(const trainer::RunPlan& plan, const PlanPlace& place);

}  // namespace thinwire::launch
