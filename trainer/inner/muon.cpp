#include "trainer/inner/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "trainer/inner/adamw.h"
#include "trainer/inner/parameter_list.h"

namespace thinwire::trainer {
namespace {

constexpr int kNewtonSchulzSteps = 5;
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kSmallestNorm = 1e-7;  // below it a gradient is noise and its step shrinks with it
constexpr double kAdamWRms = 0.2;       // the root mean square of AdamW's steps that the scale aims at

bool is_matrix_of_a_block(const TrainedTensor& item) {
  return item.tensor.dim() == 2 && item.group == TensorGroup::kMatrix && item.block >= 0;
}

std::vector<TrainedTensor> those(const std::vector<TrainedTensor>& trained, bool matrices) {
  std::vector<TrainedTensor> chosen;
  std::copy_if(trained.begin(), trained.end(), std::back_inserter(chosen),
               [=](const TrainedTensor& item) { return is_matrix_of_a_block(item) == matrices; });
  return chosen;
}

double scale_of(const at::Tensor& matrix) {
  return kAdamWRms * std::sqrt(static_cast<double>(std::max(matrix.size(0), matrix.size(1))));
}

class Muon final : public InnerOptimizer {
 public:
  Muon(const InnerOptions& options, const std::vector<TrainedTensor>& trained)
      : options_(options),
        matrices_(those(trained, true), {"momentum"}),
        others_(make_adamw(options, those(trained, false))) {}

  void zero_grad() override {
    matrices_.zero_grad();
    others_->zero_grad();
  }

  void step(double lr) override {
    const at::NoGradGuard no_grad;
    for (const bool decays : {true, false}) {
      const StepLists lists = matrices_.with_gradient(decays);
      for (std::size_t i = 0; i < lists.parameters.size(); ++i) {
        at::Tensor momentum = lists.buffers[0][i], theta = lists.parameters[i];
        momentum.mul_(options_.momentum).add_(lists.gradients[i]);
        const at::Tensor update = lists.gradients[i].add(momentum, options_.momentum);
        if (decays) theta.mul_(1 - lr * options_.weight_decay);
        theta.sub_(orthogonalised(update), lr * scale_of(theta));
      }
    }
    others_->step(lr);
  }

  // No tensor is of both, so their buffers' names differ.
  State state() const override {
    State state = others_->state();
    state.tensors.merge(matrices_.state().tensors);
    return state;
  }

  void load(const State& state) override {
    matrices_.load(state);
    others_->load(state);
  }

 private:
  InnerOptions options_;
  ParameterList matrices_;
  std::unique_ptr<InnerOptimizer> others_;
};

}  // namespace

at::Tensor orthogonalised(const at::Tensor& matrix) {
  const at::NoGradGuard no_grad;
  const bool is_tall = matrix.size(0) > matrix.size(1);
  at::Tensor x = is_tall ? matrix.t() : matrix;  // X X^T is then the smaller square
  x = x / at::linalg_vector_norm(x).clamp_min(kSmallestNorm);
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    const at::Tensor square = at::mm(x, x.t());
    const at::Tensor polynomial = at::addmm(square, square, square, /*beta=*/kB, /*alpha=*/kC);
    x = at::addmm(x, polynomial, x, /*beta=*/kA, /*alpha=*/1);
  }
  return is_tall ? x.t() : x;
}

std::unique_ptr<InnerOptimizer> make_muon(const InnerOptions& options,
                                          const std::vector<TrainedTensor>& trained) {
  if (std::none_of(trained.begin(), trained.end(), is_matrix_of_a_block))
    throw std::invalid_argument(
        "inner.optimizer: muon steps the matrices of the model's blocks, but none of them trains here; use "
        "adamw");
  return std::make_unique<Muon>(options, trained);
}

}  // namespace thinwire::trainer
