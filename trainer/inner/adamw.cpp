#include "trainer/inner/adamw.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>

#include "trainer/inner/parameter_list.h"

namespace thinwire::trainer {
namespace {

constexpr double kEpsilon = 1e-8;

class AdamW final : public InnerOptimizer {
 public:
  AdamW(const InnerOptions& options, const std::vector<TrainedTensor>& trained)
      : options_(options), parameters_(trained, {"m", "v"}), steps_(at::zeros({}, at::kFloat)) {}

  void zero_grad() override { parameters_.zero_grad(); }

  void step(double lr) override {
    const at::NoGradGuard no_grad;
    steps_ += 1;
    for (const bool decays : {true, false}) {
      const StepLists lists = parameters_.with_gradient(decays);
      if (lists.parameters.empty()) continue;
      const std::vector<at::Tensor> steps(lists.parameters.size(), steps_);
      at::_fused_adamw_(lists.parameters, lists.gradients, lists.buffers[0], lists.buffers[1],
                        /*max_exp_avg_sqs=*/{}, steps, lr, options_.betas[0], options_.betas[1],
                        decays ? options_.weight_decay : 0, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
    }
  }

  State state() const override {
    State state = parameters_.state();
    state.meta["steps"] = steps_.item<double>();
    return state;
  }

  void load(const State& state) override {
    parameters_.load(state);
    steps_.fill_(state.meta.at("steps").get<double>());
  }

 private:
  InnerOptions options_;
  ParameterList parameters_;
  at::Tensor steps_;  // float32 scalar, exact up to 2^24 steps
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_adamw(const InnerOptions& options,
                                           const std::vector<TrainedTensor>& trained) {
  if (options.betas.size() != 2) {
    throw std::invalid_argument("inner.betas: adamw expects two values, found " +
                                std::to_string(options.betas.size()));
  }
  return std::make_unique<AdamW>(options, trained);
}

}  // namespace thinwire::trainer
