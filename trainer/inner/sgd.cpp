#include "trainer/inner/sgd.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_sgd.h>

#include "trainer/inner/parameter_list.h"

namespace thinwire::trainer {
namespace {

class Sgd final : public InnerOptimizer {
 public:
  Sgd(const InnerOptions& options, const std::vector<TrainedTensor>& trained)
      : momentum_(options.betas.empty() ? 0 : options.betas[0]),
        weight_decay_(options.weight_decay),
        parameters_(trained, momentum_ == 0 ? std::vector<std::string>{} : std::vector<std::string>{"m"}) {}

  void zero_grad() override { parameters_.zero_grad(); }

  void step(double lr) override {
    const at::NoGradGuard no_grad;
    for (const bool decays : {true, false}) {
      const StepLists lists = parameters_.with_gradient(decays);
      if (lists.parameters.empty()) continue;
      // A zero buffer gives the first step m = g, so that the first step is not a special case.
      at::_fused_sgd_(lists.parameters, lists.gradients, momentum_ == 0 ? at::TensorList() : lists.buffers[0],
                      decays ? weight_decay_ : 0, momentum_, lr, /*dampening=*/0, /*nesterov=*/false,
                      /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  State state() const override { return parameters_.state(); }
  void load(const State& state) override { parameters_.load(state); }

 private:
  double momentum_;
  double weight_decay_;
  ParameterList parameters_;
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_sgd(const InnerOptions& options,
                                         const std::vector<TrainedTensor>& trained) {
  return std::make_unique<Sgd>(options, trained);
}

}  // namespace thinwire::trainer
