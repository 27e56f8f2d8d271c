#include "launch/bench/overlap_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace thinwire::launch {
namespace {

double transmission_seconds(std::uint64_t bytes, const comm::LinkSpec& link) {
  const double charged = 8.0 * static_cast<double>(comm::ethernet_bytes(bytes));
  double seconds = 0;
  for (const double rate : {link.up_bits_per_s, link.down_bits_per_s}) {
    if (rate > 0) seconds = std::max(seconds, charged / rate);
  }
  return seconds;
}

bool in_flight_at(std::int64_t step, std::size_t fragments, std::int64_t sync_every, std::int64_t tau) {
  for (std::size_t p = 0; p < fragments; ++p) {
    const std::int64_t since_send = (step - first_send(p, fragments, sync_every)) % sync_every;
    // What is due at the last step itself is not sent any more.
    if (since_send != 0 && since_send < tau) return true;
  }
  return false;
}

}  // namespace

std::int64_t first_send(std::size_t p, std::size_t count, std::int64_t sync_every) {
  return static_cast<std::int64_t>(p) * sync_every / static_cast<std::int64_t>(count);
}

OverlapPlan plan_overlap(const OverlapLoad& load, const comm::LinkSpec& link) {
  constexpr std::int64_t kPeriods = 4;  // what does not drain within a period queues up by then
  const std::size_t count = load.fragment_bytes.size();
  double link_free = 0, longest = 0;
  for (std::int64_t period = 0; period < kPeriods; ++period) {
    for (std::size_t p = 0; p < count; ++p) {
      const std::int64_t step = period * load.sync_every + first_send(p, count, load.sync_every);
      const double sent = static_cast<double>(step) * load.step_seconds;
      link_free = std::max(link_free, sent) + transmission_seconds(load.fragment_bytes[p], link);
      longest = std::max(longest, link_free + link.rtt_s + load.coding_seconds - sent);
    }
  }
  const double steps = std::ceil(longest / load.step_seconds);
  if (steps > static_cast<double>(load.sync_every)) return {.tau = load.sync_every, .fits = false};
  return {.tau = std::max<std::int64_t>(1, static_cast<std::int64_t>(steps)), .fits = true};
}

double floor_mbit(const OverlapLoad& load) {
  const auto bytes =
      std::accumulate(load.fragment_bytes.begin(), load.fragment_bytes.end(), std::uint64_t{0});
  return 8e-6 * static_cast<double>(bytes) / (static_cast<double>(load.sync_every) * load.step_seconds);
}

std::int64_t run_steps(std::size_t fragments, std::int64_t sync_every, std::int64_t tau) {
  for (std::int64_t step = 2 * sync_every + 1; step < 3 * sync_every; ++step) {
    if (!in_flight_at(step, fragments, sync_every, tau)) return step;
  }
  return 3 * sync_every;
}

}  // namespace thinwire::launch
