// What the tests of tasks share: a small model, batches of real text, a run's folder with a checkpoint.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "trainer/checkpoint.h"
#include "trainer/data/byte_tokenizer.h"
#include "trainer/inner/inner_optimizer.h"
#include "trainer/model/language_model.h"
#include "trainer/options/options.h"
#include "trainer/options_json.h"
#include "trainer/run_folder.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

// The tensors of these tests are small: a second thread would only wait for the first.
inline const bool kOneThread = [] {
  at::set_num_threads(1);
  return true;
}();

inline Options small_options(const std::string& kind = "pretrain") {
  Options options;
  options.model.layers = 2;
  options.model.width = 32;
  options.model.heads = 2;
  options.model.context = 32;
  options.model.vocab = 256;
  options.task.kind = kind;
  if (kind == "qat") options.quant.rule = {QuantRule{}};
  options.lora.rank = 4;
  return options;
}

// Windows of the project's licence, in bytes.
inline Batch text_batch(std::int64_t sequences, std::int64_t first = 0) {
  constexpr std::int64_t kLength = 32;
  std::ifstream file(THINWIRE_LICENSE, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  TORCH_CHECK(text.size() > 10000, "no text in " THINWIRE_LICENSE);
  const at::Tensor windows = at::empty({sequences, kLength + 1}, at::kLong);
  for (std::int64_t s = 0; s < sequences; ++s) {
    const auto begin = static_cast<std::size_t>((first + s) * 97 % 10000);
    for (std::int64_t i = 0; i <= kLength; ++i) {
      windows[s][i] = static_cast<unsigned char>(text[begin + static_cast<std::size_t>(i)]);
    }
  }
  return {.tokens = windows.narrow(1, 0, kLength).contiguous(),
          .targets = windows.narrow(1, 1, kLength).contiguous()};
}

// stride: windows between the batches of two steps; 0: the same batch in every step.
inline void train(Task& task, int steps, double lr = 3e-3, std::int64_t stride = 8) {
  const std::vector<TrainedTensor> trained = task.trained();
  const auto optimizer = make_inner_optimizer({.lr = lr}, trained);
  for (int step = 0; step < steps; ++step) {
    task.begin_step(static_cast<std::uint64_t>(step));
    optimizer->zero_grad();
    task.loss(text_batch(8, step * stride)).backward();
    clip_gradients(trained, 1.0);
    optimizer->step(lr);
    task.after_update();
  }
}

// The task's tensors as a worker saves them, with the live ones as the agreed copy.
inline State saved_state(Task& task, const Options& options) {
  State state;
  for (const TrainedTensor& t : task.trained()) state.tensors["agreed/" + t.name] = t.tensor.detach().clone();
  for (const auto& [name, tensor] : task.frozen()) state.tensors["frozen/" + name] = tensor;
  describe_model(task, options, state.meta);
  return state;
}

inline void save_run(const std::string& run, Task& task, const Options& options, std::int64_t step = 1,
                     const std::string& tokenizer = ByteTokenizer().to_bytes()) {
  std::string why;
  State state = saved_state(task, options);
  state.meta["step"] = step;
  state.meta["tokenizer"] = xxh3_128_hex(tokenizer);
  ASSERT_TRUE(CheckpointStore(run, 0, 3).save(step, state, &why)) << why;
  write_file_atomically(run + "/tokenizer", tokenizer);
}

// A pretrained model in a run's folder.
inline std::string save_base(const std::string& run, Options options = small_options(), int steps = 20) {
  const auto task = make_task(options);
  train(*task, steps);
  save_run(run, *task, options);
  return run;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.detach().contiguous(), right = b.detach().contiguous();
  return left.sizes() == right.sizes() && left.scalar_type() == right.scalar_type() &&
         std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

inline at::Tensor logits_of(LanguageModel& model, const Batch& batch) {
  const at::NoGradGuard no_grad;
  return model.forward(batch.tokens).logits;
}

}  // namespace thinwire::trainer
