#include "trainer/outer/eager_diloco.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "quant/kernel/outer_ops.h"

namespace thinwire::trainer {

EagerDiLoCo::EagerDiLoCo(const OuterContext& context, std::vector<TrainedTensor> travelling,
                         FragmentLayout layout)
    : StreamedLoop(context, std::move(travelling), layout),
      start_(agreed_copy().clone()),
      own_momentum_(at::zeros_like(start_)) {}

void EagerDiLoCo::after_step(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  for (Fragment& fragment : fragments()) {
    if (!is_due(fragment, step)) continue;
    if (fragment.exchange->in_flight()) commit(fragment, step);
    send(fragment, step, part_of(start_, fragment));
    go_ahead(fragment);
  }
}

void EagerDiLoCo::finish(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  for (Fragment& fragment : fragments())
    if (fragment.exchange->in_flight()) commit(fragment, step);
  if (!options().final_sync) return;
  for (Fragment& fragment : fragments()) {
    if (!has_drifted(fragment, step)) continue;
    send(fragment, step, part_of(start_, fragment));
    go_ahead(fragment);
  }
  for (Fragment& fragment : fragments())
    if (fragment.exchange->in_flight()) commit(fragment, step);
}

// E and the live parameters, from what was just sent.
void EagerDiLoCo::go_ahead(const Fragment& fragment) {
  const std::span<float> start = part_of(start_, fragment);
  own_.resize(fragment.range.size);
  fragment.exchange->decode_own(own_);
  const std::span<const float> agreed = agreed_of(fragment);
  std::copy(agreed.begin(), agreed.end(), start.begin());
  const quant::NesterovRule rule = {static_cast<float>(options().lr / workers()),
                                    static_cast<float>(options().momentum)};
  quant::nesterov_step(rule, own_, part_of(own_momentum_, fragment), start);
  std::copy(start.begin(), start.end(), live_of(fragment).begin());
}

State EagerDiLoCo::state() const {
  State state = StreamedLoop::state();
  state.tensors["start"] = start_;
  state.tensors["own_momentum"] = own_momentum_;
  return state;
}

void EagerDiLoCo::load(const State& state) {
  StreamedLoop::load(state);
  start_.copy_(state.require("start", start_));
  own_momentum_.copy_(state.require("own_momentum", own_momentum_));
  copy_padding_to_live(start_);
}

}  // namespace thinwire::trainer
