#include "trainer/outer/streaming_diloco.h"

namespace thinwire::trainer {

void StreamingDiLoCo::after_step(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  const std::int64_t overlap = options().overlap;
  const bool sends = step < total_steps() || overlap == 0;
  for (Fragment& fragment : fragments()) {
    if (fragment.exchange->in_flight() && step == fragment.exchange->sent_step() + overlap)
      apply(fragment, step);
    if (sends && is_due(fragment, step)) {
      send(fragment, step, agreed_of(fragment));
      if (overlap == 0) apply(fragment, step);
    }
  }
}

void StreamingDiLoCo::finish(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  for (Fragment& fragment : fragments())
    if (fragment.exchange->in_flight()) apply(fragment, step);
  if (!options().final_sync) return;
  for (Fragment& fragment : fragments())
    if (has_drifted(fragment, step)) send(fragment, step, agreed_of(fragment));
  for (Fragment& fragment : fragments())
    if (fragment.exchange->in_flight()) apply(fragment, step);
}

void StreamingDiLoCo::apply(Fragment& fragment, std::int64_t step) {
  commit(fragment, step, live_of(fragment), static_cast<float>(options().alpha));
  copy_padding_to_live(agreed_copy());
}

void StreamingDiLoCo::load(const State& state) {
  StreamedLoop::load(state);
  copy_padding_to_live(agreed_copy());
}

}  // namespace thinwire::trainer
