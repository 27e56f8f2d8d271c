#include "trainer/train_bench.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <chrono>

#include "trainer/inner/inner_optimizer.h"
#include "trainer/model/language_model.h"
#include "trainer/options/options.h"
#include "trainer/random.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {
namespace {

at::Tensor random_tokens(const TrainBench& bench, RandomStream& stream) {
  at::Tensor tokens = at::empty({bench.batch, bench.sequence}, at::kLong);
  const std::span<std::int64_t> values(tokens.data_ptr<std::int64_t>(),
                                       static_cast<std::size_t>(tokens.numel()));
  for (std::int64_t& token : values) {
    token = static_cast<std::int64_t>(uniform_below(stream, static_cast<std::uint64_t>(bench.model.vocab)));
  }
  return tokens;
}

}  // namespace

std::vector<double> measure_training(const TrainBench& bench) {
  at::set_num_threads(bench.threads);
  Options options;
  options.model = bench.model;
  const std::unique_ptr<Task> task = make_task(options);
  const std::unique_ptr<InnerOptimizer> optimizer = make_inner_optimizer(options.inner, task->trained());
  RandomStream stream = random_stream(0, "train bench");
  const Batch batch{random_tokens(bench, stream), random_tokens(bench, stream)};

  std::vector<double> tokens_per_s;
  for (int repetition = 0; repetition <= bench.repetitions; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t step = 0; step < bench.steps; ++step) {
      optimizer->zero_grad();
      task->loss(batch).backward();
      optimizer->step(options.inner.lr);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const auto tokens = static_cast<double>(bench.steps * bench.batch * bench.sequence);
    if (repetition > 0) tokens_per_s.push_back(tokens / seconds.count());
  }
  return tokens_per_s;
}

}  // namespace thinwire::trainer
