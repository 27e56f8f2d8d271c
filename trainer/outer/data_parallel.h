// Data-parallel training: the workers' gradients are averaged at every step, so all parameters stay equal.
// The baseline of the outer loop, through the same codecs (with error feedback if asked) and the same links.
// Wire: one mean of all gradients a step.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "trainer/outer/fragment_exchange.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

class DataParallel final : public OuterLoop {
 public:
  DataParallel(const OuterContext& context, std::vector<TrainedTensor> travelling);

  void reduce_gradients(std::int64_t step) override;
  bool reduces_gradients() const override { return true; }
  void after_step(std::int64_t step) override;
  void finish(std::int64_t /*step*/) override {}
  void with_agreed(const std::function<void()>& body) override { body(); }
  NamedViews agreed() override;
  std::string digest() const override;
  State state() const override;
  void load(const State& state) override;

 private:
  const OuterContext context_;
  std::shared_ptr<const quant::Codec> codec_;  // shared with what is in flight
  FlatParameters parameters_;
  std::vector<float> gradient_;  // the layout of parameters_
  FragmentExchange exchange_;
  std::optional<CommitRecord> pending_;  // of the step under way, unless it is skipped
  std::string theta_digest_;
};

}  // namespace thinwire::trainer
