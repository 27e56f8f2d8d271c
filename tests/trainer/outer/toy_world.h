// A world of workers that train a toy model - a few parameters on a quadratic of their own - under a real
// outer loop, engine and codec, so that the loop's laws can be checked against plain arithmetic.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/comm/world.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

// Two blocks (a matrix, a vector and a scale each) and an embedding.
inline std::vector<TrainedTensor> toy_tensors() {
  std::vector<TrainedTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, TensorGroup group,
                       std::int64_t block) {
    at::Tensor tensor =
        at::arange(0, at::IntArrayRef(shape).empty() ? 1 : c10::multiply_integers(shape), at::kFloat)
            .sin()
            .view(shape);
    tensor.set_requires_grad(true);
    tensors.push_back({.name = name, .tensor = tensor, .group = group, .block = block});
  };
  add("embedding", {5, 7}, TensorGroup::kMatrix, -1);
  for (std::int64_t block = 0; block < 2; ++block) {
    const std::string prefix = "blocks." + std::to_string(block);
    add(prefix + ".norm", {7}, TensorGroup::kVector, block);
    add(prefix + ".weight", {7, 7}, TensorGroup::kMatrix, block);
    add(prefix + ".step", {3}, TensorGroup::kScale, block);
  }
  return tensors;
}

inline OuterOptions toy_options(const std::string& method, const std::string& codec = "fp32") {
  OuterOptions options;
  options.method = method;
  options.codec = codec;
  options.block = 16;
  options.fragments = 2;
  options.sync_every = 6;
  options.overlap = 2;
  options.error_feedback = codec != "fp32";
  options.final_sync = false;  // tests/trainer/outer/final_sync_test.cpp has it
  return options;
}

// One worker: gradient of 0.5 * (x - target(worker, step))^2, plain SGD.
class ToyWorker {
 public:
  ToyWorker(const OuterOptions& options, comm::ProgressEngine& engine, std::int64_t total_steps,
            std::vector<TrainedTensor> tensors = toy_tensors())
      : engine_(engine),
        tensors_(std::move(tensors)),
        loop_(make_outer_loop({.options = options, .seed = 3, .total_steps = total_steps, .engine = &engine},
                              tensors_)),
        total_steps_(total_steps) {}

  void train(std::int64_t first, std::int64_t last, float lr = 0.1f) {
    at::NoGradGuard no_grad;
    for (std::int64_t step = first; step <= last; ++step) {
      for (TrainedTensor& t : tensors_) t.tensor.mutable_grad() = t.tensor - target(engine_.rank(), step);
      loop_->reduce_gradients(step);
      for (TrainedTensor& t : tensors_) t.tensor.sub_(t.tensor.grad() * lr);
      loop_->after_step(step);
      for (CommitRecord& record : loop_->take_commits()) commits_.push_back(record);
    }
    if (last == total_steps_) {
      loop_->finish(last);
      for (CommitRecord& record : loop_->take_commits()) commits_.push_back(record);
    }
  }

  static float target(int worker, std::int64_t step) {
    return static_cast<float>(0.5 * worker + 0.3 * static_cast<double>(step % 5));
  }

  State state() const {
    State state;
    for (const TrainedTensor& t : tensors_) state.tensors["live/" + t.name] = t.tensor.detach().clone();
    state.add("outer", loop_->state().copy());
    return state;
  }

  void load(const State& state) {
    at::NoGradGuard no_grad;
    for (TrainedTensor& t : tensors_) t.tensor.copy_(state.tensors.at("live/" + t.name));
    loop_->load(state.part("outer"));
  }

  OuterLoop& loop() { return *loop_; }
  std::vector<TrainedTensor>& tensors() { return tensors_; }
  const std::vector<CommitRecord>& commits() const { return commits_; }

 private:
  comm::ProgressEngine& engine_;
  std::vector<TrainedTensor> tensors_;
  std::unique_ptr<OuterLoop> loop_;
  std::int64_t total_steps_;
  std::vector<CommitRecord> commits_;
};

// The agreed copy, flattened in the tensors' order.
inline std::vector<float> agreed_values(ToyWorker& worker) {
  std::vector<float> values;
  auto views = worker.loop().agreed();
  for (const TrainedTensor& t : worker.tensors())
    for (const auto& [name, view] : views)
      if (name == t.name)
        values.insert(values.end(), view.data_ptr<float>(), view.data_ptr<float>() + view.numel());
  return values;
}

struct ToyResult {
  std::vector<std::string> digests;        // by rank
  std::vector<std::vector<float>> agreed;  // by rank
  std::vector<std::vector<CommitRecord>> commits;
  std::vector<comm::ByteCounters> sent;
};

// A whole run of a world; prepare is called on each worker before it trains.
inline ToyResult run_toy_world(int workers, const OuterOptions& options, std::int64_t steps,
                               const std::function<void(int)>& prepare = {}) {
  ToyResult result;
  result.digests.resize(workers);
  result.agreed.resize(workers);
  result.commits.resize(workers);
  result.sent.resize(workers);
  comm::run_engines(workers, [&](comm::ProgressEngine& engine) {
    if (prepare) prepare(engine.rank());
    ToyWorker worker(options, engine, steps);
    worker.train(1, steps);
    const auto rank = static_cast<std::size_t>(engine.rank());
    result.digests[rank] = worker.loop().digest();
    result.agreed[rank] = agreed_values(worker);
    result.commits[rank] = worker.commits();
    result.sent[rank] = engine.sent();
  });
  return result;
}

}  // namespace thinwire::trainer
