// No outer loop: every worker trains alone. The baseline "one worker", and what a world of one may use.
#pragma once

#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

class NoExchange final : public OuterLoop {
 public:
  explicit NoExchange(std::vector<TrainedTensor> travelling);

  void after_step(std::int64_t /*step*/) override {}
  void finish(std::int64_t /*step*/) override {}
  void with_agreed(const std::function<void()>& body) override { body(); }
  NamedViews agreed() override { return parameters_.live_views(); }
  std::string digest() const override;
  State state() const override { return {}; }
  void load(const State& /*state*/) override {}
  bool agrees() const override { return false; }

 private:
  FlatParameters parameters_;
};

}  // namespace thinwire::trainer
