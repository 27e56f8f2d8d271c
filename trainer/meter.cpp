#include "trainer/meter.h"

#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "trainer/agreement.h"

namespace thinwire::trainer {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double mean_of(const std::vector<nlohmann::json>& records, const char* name) {
  double mean = 0;
  for (const nlohmann::json& record : records)
    mean += record.at(name).get<double>() / static_cast<double>(records.size());
  return mean;
}

// The most memory that this process has held at once.
std::uint64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

double seconds_since(comm::Clock::time_point begin) {
  return comm::seconds_of(comm::Clock::now() - begin);
}

void Meter::end_step(double seconds, double loss, double gradient_norm) {
  step_times_.push_back(seconds);
  step_seconds_ += seconds;
  loss_sum_ += loss;
  gradient_norm_ = gradient_norm;
  skipped_in_a_row_ = 0;
  ++counted_steps_;
  ++steps_;
}

void Meter::end_skipped_step(double seconds) {
  step_times_.push_back(seconds);
  step_seconds_ += seconds;
  ++skipped_;
  ++skipped_in_a_row_;
  ++steps_;
}

nlohmann::json Meter::take_pulse(std::int64_t step) {
  const double seconds = seconds_since(last_pulse_);
  const std::uint64_t wire_bytes = restored_.wire_bytes + engine_.sent().wire;
  nlohmann::json pulse = {
      {"step", step},
      {"loss", loss_sum_ / static_cast<double>(counted_steps_)},
      {"gradient_norm", gradient_norm_},
      {"tokens_per_s", static_cast<double>(steps_ * tokens_per_step_) / seconds},
      {"wire_bytes", wire_bytes},
      {"wire_bits_per_s", 8 * static_cast<double>(wire_bytes - wire_at_last_pulse_) / seconds},
      {"skipped_steps", skipped_}};
  loss_sum_ = 0;
  steps_ = 0;
  counted_steps_ = 0;
  last_pulse_ = comm::Clock::now();
  wire_at_last_pulse_ = wire_bytes;
  return pulse;
}

Meter::Counters Meter::counters(double outer_seconds) const {
  const comm::ByteCounters sent = engine_.sent();
  return {.wall_seconds = restored_.wall_seconds + seconds_since(begin_),
          .step_seconds = restored_.step_seconds + step_seconds_ + pulse_seconds_,
          .busy_seconds = restored_.busy_seconds + outer_seconds + pulse_seconds_,
          .wire_bytes = restored_.wire_bytes + sent.wire,
          .control_bytes = restored_.control_bytes + sent.control};
}

nlohmann::json Meter::state(double outer_seconds) const {
  return {{"counters", counters(outer_seconds)}, {"loss_sum", loss_sum_},
          {"steps_since_pulse", steps_},         {"counted_steps_since_pulse", counted_steps_},
          {"skipped_steps", skipped_},           {"skipped_in_a_row", skipped_in_a_row_}};
}

void Meter::load(const nlohmann::json& state) {
  state.at("counters").get_to(restored_);
  loss_sum_ = state.at("loss_sum");
  steps_ = state.at("steps_since_pulse");
  counted_steps_ = state.at("counted_steps_since_pulse");
  skipped_ = state.at("skipped_steps");
  skipped_in_a_row_ = state.at("skipped_in_a_row");
  wire_at_last_pulse_ = restored_.wire_bytes;
}

nlohmann::json Meter::summary(double outer_seconds) {
  const Counters mine = counters(outer_seconds);
  const double utilization = mine.step_seconds > 0 ? 1 - mine.busy_seconds / mine.step_seconds : 1;
  const std::vector<nlohmann::json> all = gather_json(engine_,
                                                      {{"utilization", utilization},
                                                       {"step_seconds", median(step_times_)},
                                                       {"skipped_steps", skipped_},
                                                       {"peak_resident_bytes", peak_resident_bytes()}},
                                                      "summary");
  std::uint64_t peak = 0;
  std::int64_t skipped = 0;
  for (const nlohmann::json& one : all) {
    peak = std::max<std::uint64_t>(peak, one.at("peak_resident_bytes"));
    skipped += one.at("skipped_steps").get<std::int64_t>();
  }
  return {{"wire_bytes_per_worker", mine.wire_bytes},
          {"control_bytes_per_worker", mine.control_bytes},
          {"compute_utilization", mean_of(all, "utilization")},
          {"workers_per_core", static_cast<double>(all.size()) / std::thread::hardware_concurrency()},
          {"step_seconds", mean_of(all, "step_seconds")},
          {"skipped_steps", skipped},
          {"peak_resident_bytes", peak},
          {"wall_seconds", mine.wall_seconds}};
}

nlohmann::json metrics_of(const std::vector<nlohmann::json>& pulses, std::int64_t tokens_per_step) {
  const auto workers = static_cast<std::int64_t>(pulses.size());
  const std::int64_t step = pulses.front().at("step");
  nlohmann::json record = {{"step", step},
                           {"loss", mean_of(pulses, "loss")},
                           {"losses", nlohmann::json::array()},
                           {"tokens", step * tokens_per_step * workers}};
  double tokens_per_s = 0;
  std::int64_t skipped = 0;
  for (const nlohmann::json& pulse : pulses) {
    record["losses"].push_back(pulse.at("loss"));
    tokens_per_s += pulse.at("tokens_per_s").get<double>();
    skipped += pulse.at("skipped_steps").get<std::int64_t>();
  }
  record["tokens_per_s"] = tokens_per_s;
  record["skipped_steps"] = skipped;
  for (const char* name : {"gradient_norm", "wire_bytes", "wire_bits_per_s"})
    record[name] = pulses.front().at(name);
  // Of the worker with the most; only tasks that clamp count them.
  for (const nlohmann::json& pulse : pulses)
    if (pulse.contains("clamped_steps"))
      record["clamped_steps"] =
          std::max<std::int64_t>(record.value("clamped_steps", 0), pulse["clamped_steps"]);
  return record;
}

}  // namespace thinwire::trainer
