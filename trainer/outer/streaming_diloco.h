// DiLoCo and Streaming DiLoCo: workers take H inner steps alone and exchange the drift of their parameters, a
// fragment at a time, while training goes on.
//
// Source: Douillard et al., 2311.08105 (DiLoCo) and 2501.18512 (Streaming DiLoCo), algorithm 2. Departures:
// the result of a fragment is applied at exactly t + tau, waiting if it is late, so the trajectory does not
// depend on the network; embeddings, head and final norm are one more fragment; error feedback is an option.
//
// At the last step a fragment that is due is sent only if tau = 0 (its result still counts); all in flight is
// applied.
#pragma once

#include <memory>
#include <vector>

#include "trainer/outer/fragment_exchange.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

class StreamingDiLoCo final : public OuterLoop {
 public:
  StreamingDiLoCo(const OuterContext& context, std::vector<TrainedTensor> travelling, FragmentLayout layout);

  void after_step(std::int64_t step) override;
  void finish(std::int64_t step) override;
  void with_agreed(const std::function<void()>& body) override;
  NamedViews agreed() override;
  std::string digest() const override;
  State state() const override;
  void load(const State& state) override;

 private:
  struct Fragment {
    FlatRange range;
    std::int64_t offset_step = 0;  // t_p
    std::unique_ptr<FragmentExchange> exchange;
    std::string digest;  // of (G, V)
  };

  bool due_to_send(const Fragment& fragment, std::int64_t step) const;
  void send(Fragment& fragment, std::int64_t step);
  void apply(Fragment& fragment, std::int64_t step);
  void copy_agreed_padding_to_live();
  std::string digest_of_fragment(const Fragment& fragment) const;
  std::uint64_t state_digest() const;
  std::span<float> agreed_of(const Fragment& fragment);
  std::span<float> momentum_of(const Fragment& fragment);
  std::span<float> live_of(const Fragment& fragment);

  const OuterContext context_;
  FlatParameters parameters_;
  std::shared_ptr<const quant::Codec> codec_;  // shared with what is in flight
  at::Tensor agreed_;                          // G, float32, the layout of parameters_
  at::Tensor momentum_;                        // V
  std::vector<float> scratch_;                 // delta, then mean, of one fragment
  std::vector<Fragment> fragments_;
};

}  // namespace thinwire::trainer
