// What a worker counts while it trains - time, bytes, loss - and what is made of all workers' counts. Saved
// with every checkpoint, so that a resumed run goes on counting. One thread, the training thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "comm/progress_engine.h"

namespace thinwire::trainer {

class Meter {
 public:
  // tokens_per_step: of one worker. engine must outlive the meter.
  Meter(comm::ProgressEngine& engine, std::int64_t tokens_per_step)
      : engine_(engine), tokens_per_step_(tokens_per_step) {}

  void end_step(double seconds, double loss, double gradient_norm);
  // A step whose loss or gradient was not finite: it counts in nothing else.
  void end_skipped_step(double seconds);
  std::int64_t skipped_in_a_row() const { return skipped_in_a_row_; }
  void add_pulse_wait(double seconds) { pulse_seconds_ += seconds; }
  // Waiting for what is in flight after the last step, which outer_seconds counts too.
  void add_last_wait(double seconds) { step_seconds_ += seconds; }

  // This worker's record for the others: means and rates since the last one.
  nlohmann::json take_pulse(std::int64_t step);

  // outer_seconds: OuterLoop::busy_seconds(), of this process.
  nlohmann::json state(double outer_seconds) const;
  void load(const nlohmann::json& state);
  // Utilisation, step time, bytes, skipped steps and memory for summary.json. Collective.
  nlohmann::json summary(double outer_seconds);

 private:
  // Over the whole run, resumes included.
  struct Counters {
    double wall_seconds = 0;       // since the start of a process, added up
    double step_seconds = 0;       // in the step loop, evaluation and checkpoints out
    double busy_seconds = 0;       // of those: in outer-loop work and waiting for pulses
    std::uint64_t wire_bytes = 0;  // sent by this worker
    std::uint64_t control_bytes = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Counters, wall_seconds, step_seconds, busy_seconds, wire_bytes,
                                   control_bytes)
  };
  Counters counters(double outer_seconds) const;

  comm::ProgressEngine& engine_;
  const std::int64_t tokens_per_step_;
  const comm::Clock::time_point begin_ = comm::Clock::now();
  Counters restored_;               // as of the checkpoint this process started from
  std::vector<double> step_times_;  // of this process, seconds
  double step_seconds_ = 0;         // their sum
  double pulse_seconds_ = 0;
  std::int64_t skipped_ = 0;  // steps, over the whole run
  std::int64_t skipped_in_a_row_ = 0;

  // Since the last pulse.
  double loss_sum_ = 0;
  double gradient_norm_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t counted_steps_ = 0;  // of them: not skipped
  comm::Clock::time_point last_pulse_ = begin_;
  std::uint64_t wire_at_last_pulse_ = 0;
};

double seconds_since(comm::Clock::time_point begin);

// All workers' pulses as one record of metrics.jsonl; the lr is the caller's to add.
nlohmann::json metrics_of(const std::vector<nlohmann::json>& pulses, std::int64_t tokens_per_step);

}  // namespace thinwire::trainer
