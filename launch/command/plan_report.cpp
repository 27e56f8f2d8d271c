#include "launch/command/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "launch/errors.h"
#include "launch/quantity.h"

namespace thinwire::launch {
namespace {

std::string bytes_text(double bytes) {
  return short_number(bytes) + "B";
}

double memory_of_worker(const trainer::RunPlan& plan, const PlanPlace& place) {
  return static_cast<double>(plan.peak_bytes) +
         (place.own_processes ? static_cast<double>(trainer::kProcessBytes) : 0);
}

// Of all workers on this machine.
double memory_here(const trainer::RunPlan& plan, const PlanPlace& place) {
  const double process = place.own_processes ? 0 : static_cast<double>(trainer::kProcessBytes);
  return process + place.workers_here * memory_of_worker(plan, place);
}

// What a worker surely holds while all others do.
double held_by_worker(const trainer::RunPlan& plan, const PlanPlace& place) {
  return static_cast<double>(plan.held_bytes) +
         (place.own_processes ? static_cast<double>(trainer::kOwnProcessBytes) : 0);
}

std::string memory_text(const trainer::RunPlan& plan, const PlanPlace& place) {
  std::string text = fmt::format("about {} a worker", bytes_text(memory_of_worker(plan, place)));
  if (place.workers_here > 0)
    text += fmt::format(", {} on this machine", bytes_text(memory_here(plan, place)));
  if (place.available)
    text += fmt::format(", which has {}", bytes_text(static_cast<double>(*place.available)));
  return text;
}

std::string model_text(const trainer::ModelOptions& model) {
  return fmt::format(
      "{}, {} layers, width {}, {} heads, {} of keys, MLP {}, context {}, vocabulary {}, head {}", model.arch,
      model.layers, model.width, model.heads, model.kv_heads, model.mlp_width, model.context, model.vocab,
      model.tied ? "tied" : "of its own");
}

}  // namespace

std::string plan_text(const trainer::RunPlan& plan, const PlanPlace& place) {
  return fmt::format("  model                {}\n", model_text(plan.model)) +
         fmt::format("  parameters           {}, {} of them trainable\n", plan.parameters, plan.trainable) +
         fmt::format("  memory               {}\n", memory_text(plan, place)) +
         fmt::format("  tokens               {} of {} worker{}\n", plan.tokens, place.workers,
                     place.workers == 1 ? "" : "s") +
         fmt::format("  commits              {}\n", plan.commits) +
         fmt::format("  sent by each worker  {}, {} bytes", bytes_text(static_cast<double>(plan.wire_bytes)),
                     plan.wire_bytes);
}

nlohmann::json plan_json(const trainer::RunPlan& plan, const PlanPlace& place) {
  const trainer::ModelOptions& model = plan.model;
  nlohmann::json object = {
      {"model",
       {{"arch", model.arch},
        {"layers", model.layers},
        {"width", model.width},
        {"heads", model.heads},
        {"kv_heads", model.kv_heads},
        {"mlp_width", model.mlp_width},
        {"context", model.context},
        {"vocab", model.vocab},
        {"tied", model.tied}}},
      {"parameters", plan.parameters},
      {"trainable_parameters", plan.trainable},
      {"memory_bytes_per_worker", static_cast<std::uint64_t>(memory_of_worker(plan, place))},
      {"memory_bytes", nullptr},
      {"memory_available_bytes", nullptr},
      {"workers", place.workers},
      {"tokens", plan.tokens},
      {"commits", plan.commits},
      {"wire_bytes_per_worker", plan.wire_bytes}};
  if (place.workers_here > 0) object["memory_bytes"] = static_cast<std::uint64_t>(memory_here(plan, place));
  if (place.available) object["memory_available_bytes"] = *place.available;
  return object;
}

void require_memory(const trainer::RunPlan& plan, const PlanPlace& place) {
  if (!place.available || place.workers_here == 0) return;
  const auto have = static_cast<double>(*place.available);
  const double each = held_by_worker(plan, place), once = static_cast<double>(plan.gradient_bytes);
  const double need = place.workers_here * each + once;
  if (need <= have) return;
  const double fit = std::max(0.0, (have - once) / each);
  const std::string fewer =
      fit < 1 ? "" : fmt::format("start at most {:.0f} workers here, or ", std::floor(fit));
  throw UsageError(fmt::format(
      "{} worker{} on this machine need{} at least {} of memory ({} each), and {} are free; {}take a smaller "
      "model.width, model.layers or vocabulary, or an outer.method and inner.optimizer that hold less",
      place.workers_here, place.workers_here == 1 ? "" : "s", place.workers_here == 1 ? "s" : "",
      bytes_text(need), bytes_text(each), bytes_text(have), fewer));
}

}  // namespace thinwire::launch
