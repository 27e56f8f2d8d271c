// DiLoCo with eager updates: a fragment's mean travels for a whole period of H steps, and a worker does not
// wait for it: it goes on at once with its own part of it, and takes the others' one period later.
//
// Source: Kale, Douillard and Donchev 2025, 2502.12996 ("eager updates"). There worker m of M keeps outer
// parameters and momentum of its own, and after period t, with d_m^t its drift, mean^t that of all workers,
// takes the Nesterov step (rate eta, momentum mu) with
//
//   g_m^t = mean^(t-1) + (d_m^t - d_m^(t-1)) / M                      d^0 = mean^0 = 0.
//
// The workers' outer parameters then never agree. But the step is linear in the gradients, so it splits into
// a part that is the same on all workers and a part of the worker's own, and that is what is computed here:
//
//   agreed   V^t = mu V^(t-1) + mean^(t-1),    G^t = G^(t-1) - eta (mean^(t-1) + mu V^t)
//   own      U_m^t = mu U_m^(t-1) + d_m^t,     E_m^t = G^t - (eta / M) (d_m^t + mu U_m^t)
//
// E_m^t is the paper's outer iterate (the differences of d_m telescope; only rounding differs). (G, V) is
// DiLoCo's own trajectory of true means, one period late: bit-equal on all workers, what digests cover and
// what is evaluated and exported. Local are U, E and the live parameters, which E replaces after each period.
// d_m^t = decode(encode(E_m^(t-1) - live)), what the others see of it; error feedback keeps the rest.
//
// Departures: fragments are streamed, each with its own offset in the period, as in Streaming DiLoCo. At the
// last step all in flight is waited for, and then, with options.final_sync, a last and shorter period of
// every fragment that was not sent at that step, so that the agreed copy holds every step. With M = 1 the
// live parameters are those of streaming_diloco with overlap 0 and alpha 0, bit for bit.
//
// options.overlap and alpha are not read: the overlap is sync_every, and no local parameters outlive a
// period. Memory: two float32 a parameter (U and E) more than streaming_diloco.
#pragma once

#include "trainer/outer/streamed_loop.h"

namespace thinwire::trainer {

class EagerDiLoCo final : public StreamedLoop {
 public:
  EagerDiLoCo(const OuterContext& context, std::vector<TrainedTensor> travelling, FragmentLayout layout);

  void after_step(std::int64_t step) override;
  void finish(std::int64_t step) override;
  State state() const override;
  void load(const State& state) override;

 private:
  void go_ahead(const Fragment& fragment);

  at::Tensor start_;         // E, float32, the layout of the agreed copy
  at::Tensor own_momentum_;  // U
  std::vector<float> own_;   // d, of the fragment that goes ahead
};

}  // namespace thinwire::trainer
