// DiLoCo and Streaming DiLoCo: workers take H inner steps alone and exchange the drift of their parameters, a
// fragment at a time, while training goes on.
//
// Source: Douillard et al., 2311.08105 (DiLoCo) and 2501.18512 (Streaming DiLoCo), algorithm 2. Departures:
// the result of a fragment is applied at exactly t + tau, waiting if it is late, so the trajectory does not
// depend on the network; embeddings, head and final norm are one more fragment; error feedback is an option.
//
// At the last step a fragment that is due is sent only if tau = 0 (its result still counts); all in flight is
// applied, and then, with options.final_sync, every fragment sent once more and waited for, so that the
// agreed copy holds every step. (The papers end their runs with a sync.)
#pragma once

#include "trainer/outer/streamed_loop.h"

namespace thinwire::trainer {

class StreamingDiLoCo final : public StreamedLoop {
 public:
  StreamingDiLoCo(const OuterContext& context, std::vector<TrainedTensor> travelling, FragmentLayout layout)
      : StreamedLoop(context, std::move(travelling), layout) {}

  void after_step(std::int64_t step) override;
  void finish(std::int64_t step) override;
  void load(const State& state) override;

 private:
  void apply(Fragment& fragment, std::int64_t step);
};

}  // namespace thinwire::trainer
